import { AddressProblem, hex } from '../model/address.ts';
import { choose, chooseText, chosen, problem, selection } from '../store.ts';

/** Takes any address, and shows those of the selected page. */
export function AddressBar() {
  const go = (event: Event): void => {
    event.preventDefault();
    const input = (event.currentTarget as HTMLFormElement).elements.namedItem('address') as HTMLInputElement;
    try {
      chooseText(input.value);
    } catch (error) {
      if (!(error instanceof AddressProblem)) throw error;
      problem.value = error.message;
    }
  };
  const page = selection.value;
  const text = (address: bigint | undefined): string => (address === undefined ? '—' : hex(address));
  return (
    <form class="address" onSubmit={go}>
      <label>
        <span class="label">Go to</span>
        <input
          name="address"
          placeholder="0xffff…, g:0xe00000, s:0x1000000"
          spellcheck={false}
          autocomplete="off"
        />
      </label>
      <button type="submit">Go</button>
      <dl class="addresses">
        <div>
          <dt>virtual</dt>
          <dd>{text(page?.virtual)}</dd>
        </div>
        <div>
          <dt>guest</dt>
          <dd>{text(page?.guest)}</dd>
        </div>
        <div>
          <dt>system</dt>
          <dd>{text(page?.system)}</dd>
        </div>
      </dl>
      {chosen.value !== undefined && (
        <button type="button" onClick={() => choose(undefined)}>
          Follow the steps
        </button>
      )}
    </form>
  );
}
