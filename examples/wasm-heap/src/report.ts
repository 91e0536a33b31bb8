import type { StoryReport } from './story.ts';

/** The whole report as lines of at most 80 columns; `title` makes a heading stand out. */
export function render(story: StoryReport, title: (text: string) => string): string {
  const { sum, list, range, growth, own, left, maps } = story;
  const [before, after] = story.memoryBytes;
  return [
    title('A heap inside the memory of a WebAssembly module'),
    '',
    `The module has ${before / 1024} KiB. Its own data and stack end at __heap_base, ${hex(story.heapBase)};`,
    `the heap has the pages from ${hex(Number(story.firstPage))} on.`,
    ...picture(maps[0]),
    ...wrapped(maps[0].split('\n')[0]!),
    '',
    title('What the host allocates, the module works on'),
    `  sum(${hex(Number(sum.at))}, ${sum.length})     ${sum.sum}, and should be ${sum.expected}`,
    `  reverse(${list.before.join(' → ')})     ${list.after.join(' → ')}`,
    `  crc32("123456789")     ${hex(own.crc)}, by the table that is the module's own data`,
    '',
    title('What the module allocates, with malloc and free of this heap'),
    `  range(${range.nodes})     a list of ${range.nodes} nodes of 8 bytes in ${range.pages} pages; its sum is ${range.sum}`,
    '',
    title('The memory grows while the heap is in use'),
    `  ${growth.asked} bytes are asked for: memory.grow(${growth.pages}), addRegion, and there they are.`,
    `  A view from before has ${growth.oldView} elements: its buffer is gone. A new one has ${growth.newView},`,
    `  at the same address, and the module's sum of them is ${growth.sum} still.`,
    `  Of 8 MiB, more than the memory may have, the module gets the address ${growth.tooMuch}.`,
    ...picture(maps[1]),
    '',
    title('What is refused'),
    ...story.refusals.flatMap(({ who, code, message }) => [`  ${who}: ${code}`, ...wrapped(message)]),
    '',
    title('In the end'),
    `  ${own.changedBytes} bytes below __heap_base have changed.`,
    '  Never freed by the module:',
    ...story.leaks.map(({ at, bytes }) => `    ${bytes} bytes at ${hex(Number(at))}`),
    `  The heap has ${left.objects} objects, ${left.bytes} bytes, in ${left.pages} page; the memory, ${after / 1024} KiB.`,
    ...picture(maps[2]),
  ].join('\n');
}

const hex = (value: number): string => `0x${value.toString(16)}`;

/** A map without its legend. */
function picture(map: string): string[] {
  return [
    '',
    ...map
      .split('\n')
      .slice(1)
      .map((line) => `    ${line}`),
  ];
}

/** Text in lines of at most 80 columns. */
function wrapped(text: string): string[] {
  const indent = 4;
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) as string;
    if (line !== '' && indent + line.length + 1 + word.length > 80) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines.map((line) => ' '.repeat(indent) + line);
}
