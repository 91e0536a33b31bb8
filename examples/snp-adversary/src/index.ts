/** The attacks, and the stage on which they run: for programs that show them. */
export { type LetThrough, NOTHING, type Outcome, run, type Scenario } from './scenario.ts';
export { SCENARIOS } from './scenarios/index.ts';
export { A, gvaOf, type Moment, Stage, type StageOptions } from './stage.ts';
