/**
 * Characters that a terminal obeys instead of showing them: C0 except the line feed, DEL, C1, the line and paragraph
 * separators, the marks that change the direction of text, and invisible ones. Also halves of a surrogate pair.
 */
const OBEYED =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to find.
  /[\0-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]|[\u{e0000}-\u{e0fff}]/gu;

/**
 * `lines` with every character that a terminal obeys as `\uXXXX`. A dump and its name are untrusted, and may contain escape
 * codes. Line feeds stay. In JSON, the result is the same text.
 */
export function printableLines(lines: string): string {
  return lines.replace(OBEYED, escaped);
}

/** Like {@link printableLines}, for a text without line feeds: they are escaped too. */
export function printable(text: string): string {
  return printableLines(text).replaceAll('\n', '\\u000a');
}

function escaped(character: string): string {
  return Array.from({ length: character.length }, (_, i) => {
    return `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`;
  }).join('');
}
