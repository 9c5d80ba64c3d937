import nodeDgram from 'node:dgram';

/* node:dgram as ES modules import it, where names of a builtin module do not follow its object: see `register`. */

export const { createSocket, Socket } = nodeDgram;
export default nodeDgram;
