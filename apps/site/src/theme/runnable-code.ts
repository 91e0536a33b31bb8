/** An example that runs in the page, and can be edited there. Without JavaScript it is the highlighted code. */
import { withBase } from 'vitepress';
import { defineComponent, h, onBeforeUnmount, ref, shallowRef, type VNode } from 'vue';
import type { Editor } from '../editor/editor.ts';

interface Line {
  readonly level: 'log' | 'error';
  readonly text: string;
}

let modules: Promise<Map<string, string>> | undefined;

/** The addresses of the modules that programs may import: the table that the bundles were written with. */
async function loadModules(): Promise<Map<string, string>> {
  const response = await fetch(withBase('/packages/modules.json'));
  const names: Record<string, string> = await response.json();
  const addressOf = (file: string): string => new URL(withBase(`/packages/${file}`), location.href).href;
  return new Map(Object.entries(names).map(([name, file]) => [name, addressOf(file)]));
}

export const RunnableCode = defineComponent({
  name: 'RunnableCode',
  props: { source: { type: String, required: true } },
  setup(props, { slots }) {
    const original = decodeURIComponent(props.source).trimEnd();
    const place = ref<HTMLElement>();
    const editor = shallowRef<Editor>();
    const lines = shallowRef<readonly Line[]>();
    const running = shallowRef<AbortController>();
    onBeforeUnmount(() => {
      running.value?.abort();
      editor.value?.destroy();
    });

    async function edit(): Promise<void> {
      const { createEditor } = await import('../editor/editor.ts');
      if (editor.value !== undefined || place.value === undefined) return;
      editor.value = createEditor(place.value, original, 'TypeScript');
      editor.value.focus();
    }

    async function start(): Promise<void> {
      const controller = new AbortController();
      running.value = controller;
      lines.value = [];
      const print = (level: Line['level'], text: string): void => {
        lines.value = [...(lines.value ?? []), { level, text }];
      };
      try {
        modules ??= loadModules();
        const { run } = await import('../editor/run.ts');
        await run(editor.value?.text() ?? original, await modules, print, controller.signal);
      } catch (error) {
        modules = undefined;
        print('error', `the program cannot be loaded: ${(error as Error).message}`);
      }
      running.value = undefined;
    }

    const button = (label: string, action: () => unknown): VNode =>
      h('button', { type: 'button', class: 'run-button', onClick: action }, label);

    return () => {
      const isEditing = editor.value !== undefined;
      const isRunning = running.value !== undefined;
      return h('div', { class: 'runnable' }, [
        h('div', { hidden: isEditing }, slots['default']?.()),
        h('div', { ref: place, hidden: !isEditing, class: 'run-editor' }),
        h('div', { class: 'run-bar' }, [
          isRunning ? button('Stop', () => running.value?.abort()) : button('Run', start),
          isEditing ? button('Reset', () => editor.value?.setText(original)) : button('Edit', edit),
          isEditing ? h('span', { class: 'run-note' }, 'Types are removed, not checked.') : undefined,
        ]),
        lines.value === undefined
          ? undefined
          : h(
              'div',
              {
                class: 'run-output',
                role: 'log',
                'aria-label': 'Output',
                'aria-busy': isRunning,
                tabindex: 0,
              },
              lines.value.length === 0
                ? h('div', { class: 'run-line' }, isRunning ? '…' : 'The program printed nothing.')
                : lines.value.map(({ level, text }) => h('div', { class: `run-line run-${level}` }, text)),
            ),
      ]);
    };
  },
});
