import { spawn } from 'node:child_process';
import { Child } from './bench/processes.mjs';
