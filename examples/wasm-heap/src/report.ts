import type { StoryReport } from './story.ts';

/** The report as lines of at most 80 columns. `title` formats a heading. */
export function render(story: StoryReport, title: (text: string) => string): string {
  const { sum, list, range, growth, own, left, maps } = story;
  const [before, after] = story.memoryBytes;
  return [
    title('A heap inside the memory of a WebAssembly module'),
    '',
    `The module has ${before / 1024} KiB. Its data and stack end at __heap_base, ${hex(story.heapBase)};`,
    `the heap has the pages from ${hex(Number(story.firstPage))} on.`,
    ...picture(maps[0]),
    ...wrapped(maps[0].split('\n')[0]!),
    '',
    title('The module works on objects of the host'),
    `  sum(${hex(Number(sum.at))}, ${sum.length}) = ${sum.sum} (expected: ${sum.expected})`,
    `  reverse(${list.before.join(' → ')}): ${list.after.join(' → ')}`,
    `  crc32("123456789") = ${hex(own.crc)}, with the table in the module's own data`,
    '',
    title('The module allocates with malloc and free of this heap'),
    `  range(${range.nodes}): a list of ${range.nodes} nodes of 8 bytes in ${range.pages} pages, with the sum ${range.sum}`,
    '',
    title('The memory grows while the heap is in use'),
    `  To allocate ${growth.asked} bytes: memory.grow(${growth.pages}), addRegion, then the allocation.`,
    `  A view from before has ${growth.oldView} elements, since its buffer is detached. A new view of`,
    `  the same address has ${growth.newView}, and the module's sum of them is still ${growth.sum}.`,
    `  malloc of 8 MiB, more than the memory may grow to, returns ${growth.tooMuch} to the module.`,
    ...picture(maps[1]),
    '',
    title('Errors'),
    ...story.refusals.flatMap(({ who, code, message }) => [`  ${who}: ${code}`, ...wrapped(message)]),
    '',
    title('At the end'),
    `  ${own.changedBytes} bytes below __heap_base have changed.`,
    '  The module has not freed:',
    ...story.leaks.map(({ at, bytes }) => `    ${bytes} bytes at ${hex(Number(at))}`),
    `  The heap has ${left.objects} objects with ${left.bytes} bytes in ${left.pages} page. The memory has ${after / 1024} KiB.`,
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

/** Wraps text into lines of at most 80 columns. */
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
