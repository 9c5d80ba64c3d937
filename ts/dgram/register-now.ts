/** For `node --import wasi-udp/dgram/register app.js`: replaces node:dgram before the program begins. */
import { register } from './register.js';

register();
