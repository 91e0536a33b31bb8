import { useSignal } from '@preact/signals';
import { memo } from 'preact/compat';
import { useEffect, useRef } from 'preact/hooks';
import type { Step } from '../model/step.ts';
import { cancel, playing, recording, scenarios } from '../player/player-store.ts';
import { goTo, openScenario, problem, step } from '../store.ts';

/** Milliseconds: a play that takes longer shows how far it is. */
const SLOW = 200;
const NO_STEPS: readonly Step[] = [];
const GROUPS = ['The loop', 'What if', 'Attacks'] as const;
const ACTORS = { guest: 'G', hypervisor: 'H', processor: 'P' } as const;

/** The scenario, and its steps: forward, back, and by scrubbing. */
export function TimelineView() {
  const list = useRef<HTMLOListElement>(null);
  const shown = recording.value?.scenario;
  const steps = recording.value?.steps ?? NO_STEPS;
  const now = step.value;
  useEffect(() => {
    const item = list.current?.querySelector<HTMLElement>('[aria-current="step"]');
    const box = list.current;
    if (item === null || item === undefined || box === null) return;
    const top = item.offsetTop - box.offsetTop;
    if (top < box.scrollTop || top + item.offsetHeight > box.scrollTop + box.clientHeight)
      box.scrollTop = top - box.clientHeight / 2;
  }, [now, steps]);
  const onKey = (event: KeyboardEvent): void => {
    const move = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[
      event.key
    ];
    if (move === undefined) return;
    event.preventDefault();
    goTo(now + move);
    queueMicrotask(() => list.current?.querySelector<HTMLElement>('[aria-current="step"]')?.focus());
  };
  return (
    <section class="timeline" aria-label="Timeline">
      <ScenarioMenu />
      <p class="summary">{(playing.value?.scenario ?? shown)?.summary}</p>
      <Playing />
      <div class="transport">
        <button type="button" aria-label="First step" disabled={now === 0} onClick={() => goTo(0)}>
          ⇤
        </button>
        <button type="button" aria-label="Step back" disabled={now === 0} onClick={() => goTo(now - 1)}>
          ←
        </button>
        <input
          type="range"
          aria-label="Step"
          min={0}
          max={Math.max(0, steps.length - 1)}
          value={now}
          aria-valuetext={`${now} of ${steps.length - 1}: ${steps[now]?.title ?? ''}`}
          onInput={(event) => goTo(Number(event.currentTarget.value))}
        />
        <button
          type="button"
          aria-label="Step forward"
          disabled={now >= steps.length - 1}
          onClick={() => goTo(now + 1)}
        >
          →
        </button>
        <button
          type="button"
          aria-label="Last step"
          disabled={now >= steps.length - 1}
          onClick={() => goTo(steps.length - 1)}
        >
          ⇥
        </button>
      </div>
      <ol class="steps" ref={list} onKeyDown={onKey} aria-label="Steps">
        {steps.map((one, index) => (
          <StepItem
            key={`${shown?.id}-${index}`}
            step={one}
            index={index}
            isFirst={one.call !== steps[index - 1]?.call}
            isCurrent={index === now}
          />
        ))}
      </ol>
    </section>
  );
}

/** The menu of scenarios. A step does not draw it again. */
function ScenarioMenu() {
  return (
    <label class="scenario">
      <span class="label">Scenario</span>
      <select
        value={(playing.value ?? recording.value)?.scenario.id}
        onChange={(event) => {
          problem.value = undefined;
          void openScenario(event.currentTarget.value);
        }}
      >
        {GROUPS.map((group) => (
          <optgroup label={group} key={group}>
            {scenarios.value
              .filter((scenario) => scenario.group === group)
              .map(({ id, title }) => (
                <option value={id} key={id}>
                  {title}
                </option>
              ))}
          </optgroup>
        ))}
      </select>
    </label>
  );
}

interface StepItemProps {
  readonly step: Step;
  readonly index: number;
  /** Whether it is the first step of its call. */
  readonly isFirst: boolean;
  readonly isCurrent: boolean;
}

/** A step of the list. Of a long list, two are drawn again when the current one changes. */
const StepItem = memo(({ step, index, isFirst, isCurrent }: StepItemProps) => {
  const { title, actor, outcome } = step;
  return (
    <li class={isFirst ? 'first' : ''}>
      <button
        type="button"
        tabIndex={isCurrent ? 0 : -1}
        aria-current={isCurrent ? 'step' : undefined}
        onClick={() => goTo(index)}
      >
        <span class="number">{index}</span>
        <abbr class={`actor ${actor}`} title={actor}>
          {ACTORS[actor]}
        </abbr>
        <span class="title">{title}</span>
        {outcome !== undefined && <span class={`end ${outcome.kind}`}>{outcome.kind}</span>}
      </button>
    </li>
  );
});

/** How far a play is that takes its time. */
function Playing() {
  const isSlow = useSignal(false);
  const now = playing.value;
  const id = now?.scenario.id;
  useEffect(() => {
    isSlow.value = false;
    if (id === undefined) return;
    const wait = setTimeout(() => {
      isSlow.value = true;
    }, SLOW);
    return () => clearTimeout(wait);
  }, [id]);
  if (now === undefined || !isSlow.value) return null;
  const { done, total } = now.progress;
  return (
    <p class="work" role="status">
      <span>
        Playing…{' '}
        <progress aria-label="Playing" max={1} value={total === undefined ? undefined : done / total} />
      </span>
      <small>
        {done} {total !== undefined && `of ${total} `}events
      </small>
      {recording.value !== undefined && (
        <button type="button" onClick={cancel}>
          Cancel
        </button>
      )}
    </p>
  );
}
