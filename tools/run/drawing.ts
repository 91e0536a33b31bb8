/** The parts of pictures of packages, as SVG. */

/** The width of every picture, in pixels. */
export const WIDTH = 860;
export const MARGIN = 16;

export const COLOURS = {
  free: '#dbe4ee',
  allocated: '#3b6ea8',
  encrypted: '#8fb59a',
  shared: '#d9822b',
} as const;
export type Colour = keyof typeof COLOURS;
/** The inks: dark, and light for text on dark colours. */
export const DARK = '#24292f';
export const LIGHT = '#ffffff';

/** A square and a name for each colour, from left to right. */
export function legend(y: number, colours: Readonly<Record<string, string>>): string[] {
  return Object.entries(colours).flatMap(([name, colour], i) => {
    const x = MARGIN + i * 100;
    return [rect(x, y, 10, 10, colour), text(x + 16, y + 10, name)];
  });
}

export function rect(x: number, y: number, width: number, height: number, colour: string): string {
  return `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="2" fill="${colour}"/>`;
}

export function text(
  x: number,
  y: number,
  content: string,
  { weight = 'normal', anchor = 'start', ink = DARK as string } = {},
): string {
  return `<text x="${x}" y="${y}" fill="${ink}" font-weight="${weight}" text-anchor="${anchor}">${content}</text>`;
}

/** A picture on white, so that it looks the same on a light and on a dark page. `label` names it to a screen reader. */
export function svg(label: string, height: number, parts: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${label}" font-family="sans-serif" font-size="14">
<rect width="100%" height="100%" rx="8" fill="#ffffff"/>
${parts.join('\n')}
</svg>
`;
}
