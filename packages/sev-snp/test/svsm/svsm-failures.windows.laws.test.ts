/** The same, with windows. */
import '../support/with-windows.ts';
import './svsm-failures.laws.test.ts';
