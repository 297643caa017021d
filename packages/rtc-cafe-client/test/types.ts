// What the types allow and what they do not, as `tsc` sees the declarations that are published.

import {
  LATEST_API_VERSION,
  RTCCafeClient,
  RTCCafeError,
  RTCCafeSignallingClient,
  type ConnectionReport,
  type RTCCafeErrorCode,
  type SignallerState,
  type TrackDefinition,
  type TrackKind,
} from 'rtc-cafe-client';
import { RTCCafeClient as External } from 'rtc-cafe-client/external';
import type { ManagerOptions, SocketOptions } from 'socket.io-client';

declare const socketIoOptions: Partial<ManagerOptions & SocketOptions>;
const signaller = new RTCCafeSignallingClient({
  apiVersion: LATEST_API_VERSION,
  host: 'https://example.org',
  signalModifier: (signalName, payload) => ({ ...payload, signalName, token: 'secret' }),
  ioOptions: { path: '/socket.io', transports: ['websocket'], reconnectionAttempts: 3 },
});
new RTCCafeSignallingClient({ ioOptions: socketIoOptions });
// @ts-expect-error There is no such version.
new RTCCafeSignallingClient({ apiVersion: '9.9' });
signaller.signalModifier = null;
signaller.on('stateChanged', (state: SignallerState) => state);
signaller.on('message', (event: string, ...args: unknown[]) => [event, args]);
signaller.on('message.offer', (payload: { sid: string }) => payload.sid);
signaller.sendSignal('acquire-peers-response', { recipient: 'x' }) satisfies null;
signaller.sendSignal('my-own-signal');
signaller.disconnect() satisfies null;

type Chat = { text: string };
const client = new RTCCafeClient<Chat>({ iceServers: [] }, { signaller, enableWebRTCHandshake: false });
client.joinRoom(5) satisfies null;
client.joinRoom('five') satisfies null;
// @ts-expect-error A room is a number or a text.
client.joinRoom(null);
client.leaveRoom(5) satisfies null;
client.leaveRoom('five') satisfies null;
client.sendMessage({ text: 'hello' });
client.sendMessage({ text: 'hello' }, 'sid');
client.sendMessage({ text: 'hello' }, ['one', 'two']);
// @ts-expect-error A message is what the type parameter says.
client.sendMessage({ txt: 'hello' });
client.on('message', (sender, message) => {
  sender satisfies string;
  message.text satisfies string;
});
client.on('peerTrackDefined', (sid, { id, description, kind }) => {
  [sid, id, kind] satisfies [string, string, 'audio' | 'video'];
  // @ts-expect-error It may be anything.
  description.name;
});
client.on('peerTrackIdentified', (sid: string, id: string, track: MediaStreamTrack) => [sid, id, track]);
client.on('peerTrackRemoved', (sid: string, id: string) => [sid, id]);
client.on('peerTrackDefinitionRemoved', (sid, id, kind: TrackKind, description) => [sid, id, kind, description]);
declare const track: MediaStreamTrack;
client.addTrack(track) satisfies string;
client.addTrack(track, { name: 'camera' }, { maxBitrate: 500_000, codec: 'VP9' });
// @ts-expect-error A stream has several tracks.
client.addTrack(new MediaStream());
// @ts-expect-error There is no such option.
client.addTrack(track, 'camera', { maxBitRate: 500_000 });
client.removeTrack('id') satisfies string | null;
client.replaceTrack('id', track) satisfies Promise<void>;
client.getTracks(['id'])[0]!.track satisfies MediaStreamTrack;
client.getPeerTrackDefinitions(null, ['id'])['sid']!['id'] satisfies TrackDefinition | undefined;
client.getPeerTracks(['sid'])['sid']!['id'] satisfies MediaStreamTrack | undefined;
client.requestPeerTrack('sid', 'id') satisfies null;
client.removePeerTrack('sid', 'id') satisfies string | null;
client.getStats('sid').then((stats) => [stats?.path === 'relayed', stats?.packetLoss.outgoing ?? 0]);
// @ts-expect-error It may not be known yet.
client.getStats('sid').then(({ path }) => path);
client.getConnectionReport('sid').then((report) => {
  report satisfies ConnectionReport;
  [report.phase === 'recovering', report.route === 'peer', report.selectedPair?.local.type === 'relay'];
  report.phases[0]!.milliseconds satisfies number;
  report.candidatePairs[0]!.state satisfies string;
  report.iceServerFailures[0]!.errorCode satisfies number;
  // @ts-expect-error There may be no path.
  report.selectedPair.remote;
  // @ts-expect-error There is no such phase.
  report.phase === 'closed';
});
client.on('messageUndelivered', (sid: string, { text }, mayHaveArrived: boolean) => [sid, text, mayHaveArrived]);
client.addTrack(track, null, { maxBitrate: null, codec: null });
client.on('reassignPeerSid', async (oldSid: string, sid: string) => [oldSid, sid]);
client.on('error', (error) => {
  error satisfies RTCCafeError;
  error.code satisfies RTCCafeErrorCode;
});
// @ts-expect-error There is no such event.
client.on('mesage', () => {});
// @ts-expect-error The event has other arguments.
client.on('connectToPeer', (sid: number) => sid);
client.off('message', null);
client.off('message');
client.off(null) satisfies null;
client.triggerHandler('message', 'sid', { text: 'hello' }) satisfies Promise<void>;
// @ts-expect-error The event has other arguments.
void client.triggerHandler('message', 'sid');
client.connectedPeers satisfies string[];
client.discoveredPeers satisfies string[];
client.state satisfies SignallerState;
client.rtcConfig = { iceServers: [] };
client.rtcConfig satisfies RTCConfiguration;
// @ts-expect-error The server gives it.
client.sid = 'mine';

// Without a type parameter anything may be sent, and what arrives has to be looked at.
const anything = new External();
anything.sendMessage([1, 'two', null]);
anything.on('message', (_sender, message) => {
  // @ts-expect-error It may be anything.
  message.text;
});
