import { library } from '../../tsup.base.ts';

const doors = ['src/index.ts', 'src/node/index.ts'];

// The library, its door for Node, and the command; what they share is a chunk of its own.
export default {
  ...library,
  entry: [...doors, 'src/command/main.ts'],
  external: [/^node:/],
};
