import TwoslashFloatingVue from '@shikijs/vitepress-twoslash/client';
import type { Theme } from 'vitepress';
import DefaultTheme from 'vitepress/theme';
import '@shikijs/vitepress-twoslash/style.css';
import { LayersPicture } from '../../src/theme/layers-picture.ts';
import { RunnableCode } from '../../src/theme/runnable-code.ts';
import './style.css';

const theme: Theme = {
  extends: DefaultTheme,
  enhanceApp({ app }) {
    app.use(TwoslashFloatingVue);
    app.component('LayersPicture', LayersPicture);
    app.component('RunnableCode', RunnableCode);
  },
};

// biome-ignore lint/style/noDefaultExport: VitePress reads the theme from it
export default theme;
