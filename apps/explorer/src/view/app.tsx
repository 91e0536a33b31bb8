import { lazy, Suspense } from 'preact/compat';
import { openTab, problem, tab } from '../store.ts';
import { AddressBar } from './address-bar.tsx';
import { BytesView } from './bytes-view.tsx';
import { HeapView } from './heap-view.tsx';
import { RmpView } from './rmp-view.tsx';
import { StepView } from './step-view.tsx';
import { TimelineView } from './timeline-view.tsx';
import { TreeView } from './tree-view.tsx';

const DumpTab = lazy(() => import('../dump/dump-tab.tsx').then(({ DumpTab }) => ({ default: DumpTab })));

export function App() {
  return (
    <>
      <header class="top">
        <h1>
          <span class="mark">@svsm</span> explorer
        </h1>
        <nav aria-label="Parts of the page">
          <button type="button" aria-pressed={tab.value === 'story'} onClick={() => openTab('story')}>
            Story
          </button>
          <button type="button" aria-pressed={tab.value === 'dump'} onClick={() => openTab('dump')}>
            Dump
          </button>
        </nav>
        {tab.value === 'story' && <AddressBar />}
      </header>
      <p class="problem" role="alert" hidden={problem.value === undefined}>
        {problem.value}
        <button
          type="button"
          onClick={() => {
            problem.value = undefined;
          }}
        >
          Dismiss
        </button>
      </p>
      {tab.value === 'story' ? (
        <main class="story">
          <TimelineView />
          <div class="stage">
            <StepView />
            <div class="views">
              <TreeView />
              <RmpView />
              <HeapView />
              <BytesView />
            </div>
          </div>
        </main>
      ) : (
        <main>
          <Suspense fallback={<p class="quiet">Loading…</p>}>
            <DumpTab />
          </Suspense>
        </main>
      )}
    </>
  );
}
