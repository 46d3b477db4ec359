// node-ws.js PORT URL CA: the proxy that most people would write: one WebSocket
// for each TCP connection.
'use strict';
const fs = require('fs');
const net = require('net');
const tls = require('tls');
const { WebSocket, createWebSocketStream } = require('ws');

const [port, url, ca] = process.argv.slice(2);
const secureContext = tls.createSecureContext({ ca: fs.readFileSync(ca) });

const server = net.createServer({ noDelay: true }, (device) => {
	const ws = new WebSocket(url, 'mqtt', {
		secureContext, servername: 'localhost', perMessageDeflate: false,
	});
	const cloud = createWebSocketStream(ws);
	const end = () => { device.destroy(); cloud.destroy(); };
	device.on('error', end).on('close', end);
	cloud.on('error', end).on('close', end);
	device.pipe(cloud).pipe(device);
});
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 8192 });
