import { existsSync, globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { transformerTwoslash } from '@shikijs/vitepress-twoslash';
import { createFileSystemTypesCache } from '@shikijs/vitepress-twoslash/cache-fs';
import { type DefaultTheme, defineConfig } from 'vitepress';
import { GUIDES } from '../src/guides.ts';
import { runnable } from '../src/markdown/runnable.ts';
import { PACKAGES } from '../src/packages.ts';
import { entryPoints } from '../src/reference/entry-points.ts';

/** The folder of the site on its host, with a slash on both sides. */
const base = process.env['SITE_BASE'] ?? '/svsm/';
const content = fileURLToPath(new URL('../content', import.meta.url));

const DESCRIPTION =
  'The memory stack of a Secure VM Service Module in TypeScript: addresses, regions, a page allocator, page tables and SEV-SNP.';

// biome-ignore lint/style/noDefaultExport: VitePress reads the settings from it
export default defineConfig({
  title: '@svsm',
  description: DESCRIPTION,
  lang: 'en',
  base,
  srcDir: 'content',
  outDir: 'dist',
  cacheDir: 'node_modules/.vitepress',
  cleanUrls: true,
  head: [
    ['link', { rel: 'icon', type: 'image/svg+xml', href: `${base}icon.svg` }],
    ['meta', { name: 'theme-color', content: '#3451b2' }],
  ],
  // The explorer is a program of its own, copied into the site.
  ignoreDeadLinks: [/^\/explorer\//],
  markdown: {
    languages: ['ts', 'js', 'json', 'sh'],
    codeTransformers: [
      transformerTwoslash({
        explicitTrigger: true,
        typesCache: createFileSystemTypesCache({ dir: 'node_modules/.vitepress/twoslash' }),
        twoslashOptions: {
          compilerOptions: {
            target: 9,
            module: 99,
            moduleResolution: 100,
            moduleDetection: 3,
            lib: ['lib.es2025.d.ts', 'lib.esnext.disposable.d.ts', 'lib.dom.d.ts'],
            types: [],
            strict: true,
          },
        },
      }),
    ],
    config: runnable,
  },
  themeConfig: {
    nav: [
      { text: 'Guides', link: '/guide/', activeMatch: '^/guide/' },
      { text: 'API', link: '/api/', activeMatch: '^/api/' },
      { text: 'Errors', link: '/errors/', activeMatch: '^/errors/' },
      ...(existsSync(`${content}/public/explorer/index.html`)
        ? [{ text: 'Explorer', link: '/explorer/index.html', target: '_self' }]
        : []),
    ],
    sidebar: {
      '/guide/': [
        {
          text: 'Guides',
          link: '/guide/',
          items: GUIDES.map(({ name, title }) => ({ text: title, link: `/guide/${name}` })),
        },
      ],
      '/errors/': [
        {
          text: 'Errors',
          link: '/errors/',
          items: PACKAGES.map((name) => ({ text: `@svsm/${name}`, link: `/errors/${name}` })),
        },
      ],
      '/api/': [{ text: 'API', link: '/api/', items: reference() }],
    },
    outline: { level: [2, 3] },
    socialLinks: [{ icon: 'github', link: 'https://github.com/svsm-js/svsm' }],
    editLink: {
      pattern: 'https://github.com/svsm-js/svsm/edit/main/apps/site/content/:path',
      text: 'Correct this page on GitHub',
    },
    footer: { message: 'MIT license.' },
    search: {
      provider: 'local',
      options: {
        _render: (source, env, md) => {
          const html = md.render(source, env);
          return String(env['relativePath']).startsWith('api/') ? searchable(html) : html;
        },
        miniSearch: { searchOptions: { fuzzy: 0.2, prefix: true, boost: { title: 4, text: 1, titles: 2 } } },
      },
    },
  },
  transformPageData(page) {
    // Pages that are made from sources cannot be edited.
    if (/^(api|errors)\//.test(page.relativePath)) page.frontmatter['editLink'] = false;
    if (page.relativePath.startsWith('api/')) page.frontmatter['outline'] ??= [2, 3];
  },
});

/** The names and summaries of a page of the reference. Parameters and signatures would hide them in the results of a search. */
function searchable(html: string): string {
  return html
    .replaceAll(/<(table|pre)\b[\s\S]*?<\/\1>/g, '')
    .replaceAll(
      /<h([2-6])\b[^>]*>\s*(?:Type )?(?:Parameters|Returns|Throws|Example|Extends|Implements|Inherited from|Overrides|Implementation of|(?:Get|Set|Call) Signature)\b[\s\S]*?<\/h\1>/g,
      '',
    );
}

/** The modules of the reference, each with its classes. */
function reference(): DefaultTheme.SidebarItem[] {
  return entryPoints().map(({ path }) => ({
    text: `@svsm/${path}`,
    link: `/api/${path}/`,
    collapsed: true,
    items: globSync(`${content}/api/${path}/classes/*.md`)
      .sort()
      .map((file) => ({
        text: titleOf(file),
        link: `/api/${path}/classes/${file.replace(/^.*\/(.*)\.md$/, '$1')}`,
      })),
  }));
}

function titleOf(file: string): string {
  return readFileSync(file, 'utf8').match(/^# (\w+)/m)?.[1] ?? file;
}
