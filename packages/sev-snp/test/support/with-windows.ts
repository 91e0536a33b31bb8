/** Makes the SVSM of each world reach pages through windows. Import it before a test file, to run that file so. */
import { mapping } from './svsm-world.ts';

mapping.way = 'windows';
