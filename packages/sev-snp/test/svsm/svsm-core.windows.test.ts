/** The same, with windows. */
import '../support/with-windows.ts';
import './svsm-core.test.ts';
