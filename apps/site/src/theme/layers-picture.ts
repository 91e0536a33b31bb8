/** The picture of the layers: a box for each package, at its place, with arrows for the imports. */
import { withBase } from 'vitepress';
import { defineComponent, h, type VNode } from 'vue';

interface Box {
  readonly name: string;
  readonly text: string;
  readonly x: number;
  readonly y: number;
  readonly width: number;
}

const HEIGHT = 52;
const BOXES: readonly Box[] = [
  { name: 'mm', text: 'an SVSM: boot, processors, visibility', x: 0, y: 0, width: 304 },
  { name: 'sev-snp', text: 'RMP, GHCB, SVSM protocol', x: 164, y: 92, width: 220 },
  { name: 'dump', text: 'memory dumps', x: 404, y: 92, width: 156 },
  { name: 'buddy-alloc', text: 'page allocator, heap', x: 0, y: 184, width: 200 },
  { name: 'pagetable', text: 'entries, walks, TLB', x: 284, y: 184, width: 276 },
  { name: 'memory-region', text: 'regions, pages, sets, maps', x: 100, y: 276, width: 360 },
  { name: 'address', text: 'VirtAddr, PhysAddr, PageSize', x: 160, y: 368, width: 240 },
];
/** From the lower edge of a box, at this place, to the upper edge of another one. */
const ARROWS: readonly (readonly [from: string, to: string, x: number])[] = [
  ['mm', 'sev-snp', 234],
  ['mm', 'buddy-alloc', 80],
  ['sev-snp', 'pagetable', 334],
  ['dump', 'sev-snp', 0],
  ['dump', 'pagetable', 482],
  ['buddy-alloc', 'memory-region', 150],
  ['pagetable', 'memory-region', 372],
  ['memory-region', 'address', 280],
];

export const LayersPicture = defineComponent({
  name: 'LayersPicture',
  setup: () => () =>
    h(
      'svg',
      {
        class: 'layers',
        viewBox: '-1 -1 562 422',
        role: 'group',
        'aria-label': 'The packages and their imports',
      },
      [
        h('defs', [
          h(
            'marker',
            {
              id: 'arrow',
              viewBox: '0 0 8 8',
              refX: 7,
              refY: 4,
              markerWidth: 7,
              markerHeight: 7,
              orient: 'auto',
            },
            [h('path', { d: 'M0 0 8 4 0 8z', class: 'layers-head' })],
          ),
        ]),
        ...ARROWS.map(arrow),
        ...BOXES.map(box),
      ],
    ),
});

function arrow([from, to, x]: (typeof ARROWS)[number]): VNode {
  const [start, end] = [boxOf(from), boxOf(to)];
  // Boxes at one height are joined sideways.
  const d =
    start.y === end.y
      ? `M${start.x} ${start.y + HEIGHT / 2}H${end.x + end.width + 2}`
      : `M${x} ${start.y + HEIGHT}V${end.y - 2}`;
  return h('path', { d, class: 'layers-arrow', 'marker-end': 'url(#arrow)' });
}

function box({ name, text, x, y, width }: Box): VNode {
  return h('a', { href: withBase(`/api/${firstPage(name)}/`), class: 'layers-box' }, [
    h('rect', { x, y, width, height: HEIGHT, rx: 6 }),
    h('text', { x: x + 14, y: y + 22, class: 'layers-name' }, `@svsm/${name}`),
    h('text', { x: x + 14, y: y + 40, class: 'layers-text' }, text),
  ]);
}

/** The page of the reference that describes a package first. */
function firstPage(name: string): string {
  return { mm: 'mm/boot', 'sev-snp': 'sev-snp/formats' }[name] ?? name;
}

function boxOf(name: string): Box {
  const found = BOXES.find((box) => box.name === name);
  if (found === undefined) throw new Error(`the picture has no box ${name}`);
  return found;
}
