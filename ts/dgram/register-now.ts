/**
 * For `node --import wasi-udp/dgram/register app.js`: replaces node:dgram before the program begins.
 *
 * @module wasi-udp/dgram/register
 */

import { register } from './register.js';

register();
