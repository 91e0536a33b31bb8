/** The editor of a page: CodeMirror in the colours of the site. Loaded when a reader asks for it. */
import { javascript } from '@codemirror/lang-javascript';
import { HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { tags } from '@lezer/highlight';
import { basicSetup, EditorView } from 'codemirror';

/** An editor in the page. */
export interface Editor {
  text(): string;
  setText(text: string): void;
  focus(): void;
  destroy(): void;
}

const COLOURS = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], color: 'var(--svsm-code-keyword)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--svsm-code-string)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--svsm-code-number)' },
  { tag: [tags.comment], color: 'var(--svsm-code-comment)' },
  { tag: [tags.typeName, tags.className], color: 'var(--svsm-code-type)' },
  {
    tag: [tags.function(tags.variableName), tags.function(tags.propertyName)],
    color: 'var(--svsm-code-function)',
  },
]);

const LOOKS = EditorView.theme({
  '&': { fontSize: 'var(--vp-code-font-size)', backgroundColor: 'transparent' },
  '&.cm-focused': { outline: '2px solid var(--vp-c-brand-1)', outlineOffset: '-2px' },
  '.cm-scroller': {
    fontFamily: 'var(--vp-font-family-mono)',
    lineHeight: 'var(--vp-code-line-height)',
  },
  '.cm-content': { caretColor: 'var(--vp-c-text-1)' },
  '.cm-gutters': { backgroundColor: 'transparent', color: 'var(--vp-c-text-2)', border: 'none' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'var(--vp-c-default-soft)' },
  '.cm-cursor': { borderLeftColor: 'var(--vp-c-text-1)' },
});

/** Puts an editor into `parent`. Tab leaves it, so that a keyboard can. */
export function createEditor(parent: HTMLElement, text: string, label: string): Editor {
  const view = new EditorView({
    parent,
    doc: text,
    extensions: [
      basicSetup,
      javascript({ typescript: true }),
      syntaxHighlighting(COLOURS),
      LOOKS,
      EditorView.contentAttributes.of({ 'aria-label': label }),
    ],
  });
  return {
    text: () => view.state.doc.toString(),
    setText: (text) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }),
    focus: () => view.focus(),
    destroy: () => view.destroy(),
  };
}
