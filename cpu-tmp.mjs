// CPU user time of JS parts, robust to contention
import { openUdp } from './dist/index.js';
import { Arena } from './dist/arena.js';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
const r=createSocket('udp4');r.bind(0,'127.0.0.1');await once(r,'listening');
const port=r.address().port;
const addr={tag:'ipv4',val:{port,address:[127,0,0,1]}};
const dest={family:4,remote:undefined,permits:undefined};
const a=new Arena();
const list=Array.from({length:256},()=>({data:new Uint8Array(64),remoteAddress:addr}));
const own=Array.from({length:256},()=>({data:new Uint8Array(64),remoteAddress:structuredClone(addr)}));
const {outgoing}=openUdp();const w=outgoing.writer();
function t(name,fn,n){let best=1e9;for(let k=0;k<25;k++){const c=process.cpuUsage();const s=process.hrtime.bigint();for(let i=0;i<400;i++)fn();const w=Number(process.hrtime.bigint()-s);const u=process.cpuUsage(c);best=Math.min(best,(u.user+0)*1000/400/n,)}console.log(name,best.toFixed(1),'user ns/datagram')}
t('pack shared',()=>a.pack(list,0,dest),256);
t('pack own',()=>a.pack(own,0,dest),256);
t('commit',()=>{for(let i=0;i<256;i++)w.commit(64,addr);w.clear()},256);
const one=[list[0]];
t('checkSend+send 1',()=>{outgoing.checkSend();outgoing.send(one)},1);
t('checkSend+send 256',()=>{outgoing.checkSend();outgoing.send(list)},256);
process.exit()
