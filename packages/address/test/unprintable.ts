/** Characters that could forge or reorder text on a console, and how they are shown. */
export const UNPRINTABLE: readonly (readonly [string, string])[] = [
  ['\u0000', '\\u0000'],
  ['\u001b', '\\u001b'],
  ['\u007f', '\\u007f'],
  // C1: the second introduces a control sequence, as ESC [ does.
  ['\u0085', '\\u0085'],
  ['\u009b', '\\u009b'],
  // Soft hyphen, zero width, bidirectional: marks, embeddings, overrides, isolates.
  ['\u00ad', '\\u00ad'],
  ['\u061c', '\\u061c'],
  ['\u200b', '\\u200b'],
  ['\u200e', '\\u200e'],
  ['\u200f', '\\u200f'],
  ['\u202a', '\\u202a'],
  ['\u202e', '\\u202e'],
  ['\u2066', '\\u2066'],
  ['\u2069', '\\u2069'],
  ['\ufeff', '\\ufeff'],
  // Separators of lines and paragraphs.
  ['\u2028', '\\u2028'],
  ['\u2029', '\\u2029'],
  ['\ud800', '\\ud800'],
  ['\udfff', '\\udfff'],
  // A tag, which is invisible.
  ['\u{e0041}', '\\u{e0041}'],
];

export const RAW: RegExp = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;
