import { expect, test } from 'vitest';
import { BOOT_STEPS } from '../../src/formats/boot-step.ts';
import type { MmEvent } from '../../src/formats/mm-event.ts';
import { bootWorld } from '../support/world.ts';

test('the boot reports its steps in this order, each once', () => {
  const events: MmEvent[] = [];
  bootWorld({ trace: (event) => events.push(event) });
  expect(events.filter(({ type }) => type === 'boot').map((event) => 'step' in event && event.step)).toEqual([
    ...BOOT_STEPS,
  ]);
});
