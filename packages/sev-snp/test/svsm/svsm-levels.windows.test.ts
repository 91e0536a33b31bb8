/** The same, with windows. */
import '../support/with-windows.ts';
import './svsm-levels.test.ts';
