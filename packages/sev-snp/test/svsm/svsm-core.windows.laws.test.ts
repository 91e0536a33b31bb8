/** The same, with windows. */
import '../support/with-windows.ts';
import './svsm-core.laws.test.ts';
