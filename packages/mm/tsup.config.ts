import { library } from '../../tsup.base.ts';

// Each room is a sub-path of the package; what several need is a chunk of its own.
export default { ...library, entry: ['src/index.ts', 'src/*/index.ts'] };
