import { batch, useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { hex } from '../model/address.ts';
import type { Peek, Peeks } from '../model/peek.ts';
import { bytesAt, recording } from '../player/player-store.ts';
import { problem, selection, step } from '../store.ts';

/** Milliseconds: bytes that take longer to come look old meanwhile. */
const SLOW = 250;

/** The first bytes of the selected page: what the guest reads, and what the host reads. */
export function BytesView() {
  const peeks = useSignal<Peeks | undefined>(undefined);
  const isOld = useSignal(false);
  const isSlow = useSignal(false);
  const [recorded, at, page] = [recording.value, step.value, selection.value];
  const key = page && `${page.virtual} ${page.system}`;
  // `key` stands for `page`.
  useEffect(() => {
    if (recorded === undefined || page === undefined) return;
    isOld.value = true;
    let isLast = true;
    const slow = setTimeout(() => {
      isSlow.value = true;
    }, SLOW);
    // The step is painted first; of quick steps only the last one is read.
    const wait = setTimeout(async () => {
      try {
        const found = await bytesAt(at, page);
        if (!isLast) return;
        clearTimeout(slow);
        batch(() => {
          peeks.value = found;
          isOld.value = false;
          isSlow.value = false;
        });
      } catch (error) {
        problem.value = (error as Error).message;
      }
    }, 60);
    return () => {
      isLast = false;
      clearTimeout(wait);
      clearTimeout(slow);
    };
  }, [recorded, at, key]);
  return (
    <section
      class={`panel bytes${isSlow.value ? ' slow' : ''}`}
      aria-label="Bytes"
      aria-busy={isOld.value || peeks.value === undefined}
    >
      <h3>
        Bytes <small>{page?.virtual !== undefined && hex(page.virtual)}</small>
      </h3>
      <Pane title="The guest reads" peek={peeks.value?.guest} />
      <Pane title="The host reads" peek={peeks.value?.host} />
    </section>
  );
}

function Pane({ title, peek }: { readonly title: string; readonly peek: Peek | undefined }) {
  return (
    <div class="pane">
      <h4>{title}</h4>
      {peek === undefined ? (
        <p class="quiet">…</p>
      ) : 'bytes' in peek ? (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls on a narrow screen
        <pre tabIndex={0}>{lines(peek.bytes)}</pre>
      ) : (
        <p class="refusal">
          {peek.refusal}
          {peek.check !== undefined && <span class="check">{peek.check}</span>}
        </p>
      )}
    </div>
  );
}

/** 16 bytes a line, in hexadecimal and as text. */
function lines(bytes: Uint8Array): string {
  const rows: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.subarray(at, at + 16);
    const digits = Array.from(row, (byte) => byte.toString(16).padStart(2, '0'));
    const text = Array.from(row, (byte) =>
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.',
    ).join('');
    rows.push(`${digits.slice(0, 8).join(' ')}  ${digits.slice(8).join(' ')}  ${text}`);
  }
  return rows.join('\n');
}
