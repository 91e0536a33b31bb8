/** The same, with windows. */
import '../support/with-windows.ts';
import './svsm-hidden.laws.test.ts';
