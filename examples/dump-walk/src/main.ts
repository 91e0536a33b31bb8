/** Finds the pages of a memory dump that are writable and executable: `npm run dump-walk -- FILE`. */
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { formatAddress } from '@svsm/address';
import { isDumpError, listRuns, openView } from '@svsm/dump';
import { openDumpFile } from '@svsm/dump/node';

/** A small kernel without NX, so that there is something to find. */
const SAMPLE = new URL('../../../packages/dump/test/fixtures/case-f.frames.gz', import.meta.url);
const SHOWN = 5;

async function report(path: string): Promise<void> {
  const dump = await openDumpFile(path);
  try {
    const view = openView(dump);
    console.log(`${dump.kind}; CR3 ${formatAddress(view.cr3)}, ${view.config.levels} levels`);
    for (const { message } of view.notices.take()) console.log(`warning: ${message}`);

    let [pages, bytes] = [0, 0n];
    for (const record of listRuns(view)) {
      if (record.type !== 'run' || !record.writable || !record.executable) continue;
      if (pages < SHOWN) console.log(`${formatAddress(record.start)} ${formatAddress(record.end)}`);
      pages += 1;
      bytes += record.size;
    }
    console.log(`${pages} runs are writable and executable, ${bytes / 1024n} KiB`);
  } finally {
    dump.source.close();
  }
}

try {
  await report(process.argv[2] ?? fileURLToPath(SAMPLE));
} catch (error) {
  if (!isDumpError(error)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
