/** The same, with windows. */
import '../support/with-windows.ts';
import './svsm-reentry.laws.test.ts';
