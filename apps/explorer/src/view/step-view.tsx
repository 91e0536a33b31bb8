import { useSignal } from '@preact/signals';
import { codeAt } from '../player/player-store.ts';
import { current, frame, problem, step } from '../store.ts';

/** The step: its line of code, the reason for it, and its outcome. */
export function StepView() {
  const copied = useSignal(false);
  const now = current.value;
  if (now === undefined) return <section class="step" aria-label="Step" aria-busy="true" />;
  const { title, actor, code, why, outcome } = now;
  const copy = async (): Promise<void> => {
    try {
      // The text may come later than the click, which is what allows the page to write.
      const text = codeAt(step.value).then((code) => new Blob([code], { type: 'text/plain' }));
      await navigator.clipboard.write([new ClipboardItem({ 'text/plain': text })]);
      copied.value = true;
      setTimeout(() => {
        copied.value = false;
      }, 2000);
    } catch {
      problem.value = 'The browser does not let the page write to the clipboard.';
    }
  };
  return (
    <section class="step" aria-label="Step" aria-live="polite">
      <h2>
        <span class="number">{step.value}</span> {title} <small>{actor}</small>
      </h2>
      <button type="button" class="copy" onClick={() => void copy()}>
        {copied.value ? 'Copied' : 'Copy as code'}
      </button>
      <pre>
        <code>{code}</code>
      </pre>
      <p>{why}</p>
      {outcome !== undefined && (
        <p class={`outcome ${outcome.kind}`}>
          <strong>{outcome.kind}</strong> {outcome.text}
          {outcome.check !== undefined && <span class="check">{outcome.check}</span>}
        </p>
      )}
      <Tlb />
    </section>
  );
}

function Tlb() {
  const cached = frame.value?.cached ?? [];
  if (cached.length === 0) return <p class="tlb">TLB: no translation of these pages</p>;
  return (
    <p class="tlb">
      TLB:{' '}
      {cached.map(({ vaddr, size, shared, isStale }) => (
        <span key={String(vaddr)} class={isStale ? 'stale' : ''}>
          {`…${vaddr.toString(16).slice(-6)} ${size === 4096 ? '4K' : '2M'} ${shared ? 'shared' : 'private'}${isStale ? ', stale' : ''}`}
        </span>
      ))}
    </p>
  );
}
