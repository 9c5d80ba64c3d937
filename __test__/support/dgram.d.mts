export { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
