// What runs inside of the pages for media: tracks to offer, and how much of one has arrived.

/** Is put into a page behind the page kit; it may not use anything from outside of itself. */
export function mediaKit() {
  /** A track of the fake camera or microphone, or of a canvas that is so many pixels wide, 160 high, and never still. */
  kit.track = async (what) => {
    if (what === 'camera') return (await navigator.mediaDevices.getUserMedia({ video: true })).getVideoTracks()[0];
    if (what === 'microphone') return (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks()[0];
    const canvas = Object.assign(document.createElement('canvas'), { width: what, height: 160 });
    const context = canvas.getContext('2d');
    let at = 0;
    setInterval(() => {
      at += 1;
      context.fillStyle = `hsl(${at * 7} 80% 50%)`;
      context.fillRect(0, 0, what, 160);
    }, 50);
    return canvas.captureStream(20).getVideoTracks()[0];
  };

  const reports = async () => {
    const open = kit.connections.filter((connection) => connection.connectionState === 'connected');
    return (await Promise.all(open.map((connection) => connection.getStats()))).flatMap((stats) => [...stats.values()]);
  };

  /** How many streams this page sends at the moment: those with packets since a moment ago. */
  kit.outbound = async () => {
    const sent = async () => new Map((await reports()).filter(({ type }) => type === 'outbound-rtp').map((report) => [report.id, report.packetsSent]));
    const before = await sent();
    await new Promise((resolve) => { setTimeout(resolve, 700); });
    return [...await sent()].filter(([id, packets]) => packets > (before.get(id) ?? 0)).length;
  };

  const inbound = async (client, sid, id) => {
    const track = client.getPeerTracks([sid], [id])[sid]?.[id];
    if (!track) return {};
    // Something has to play it, or it is not decoded everywhere.
    kit.players ??= new Map();
    if (!kit.players.has(track)) {
      const player = Object.assign(document.createElement(track.kind), { autoplay: true, muted: true, srcObject: new MediaStream([track]) });
      document.body.append(player);
      kit.players.set(track, player);
    }
    return (await reports()).find((report) => report.type === 'inbound-rtp' && report.trackIdentifier === track.id) ?? {};
  };

  /** How much of a peer's track was decoded: frames of video, samples of audio. */
  kit.decoded = async (client, sid, id) => {
    const report = await inbound(client, sid, id);
    return report.framesDecoded ?? report.totalSamplesReceived ?? 0;
  };

  /** The shape of the picture of a peer's track: its width by its height, in tenths. */
  kit.shape = async (client, sid, id) => {
    await inbound(client, sid, id);
    const { videoWidth, videoHeight } = kit.players.get(client.getPeerTracks([sid], [id])[sid]?.[id]) ?? {};
    return Math.round(10 * videoWidth / videoHeight) / 10;
  };

  /**
   * Does so many things with tracks, at random, without waiting for any of them. `kit.wanted` are the ids of those that
   * are to be there in the end: requested, and neither cancelled nor removed by their owner.
   */
  kit.storm = async (client, operations) => {
    kit.wanted = new Set();
    client.on('peerTrackDefinitionRemoved', (_sid, id) => kit.wanted.delete(id));
    const pick = (list) => list[Math.floor(Math.random() * list.length)];
    for (let done = 0; done < operations; done += 1) {
      const mine = client.getTracks();
      const theirs = Object.entries(client.getPeerTrackDefinitions()).flatMap(([sid, tracks]) => Object.keys(tracks).map((id) => [sid, id]));
      const chance = Math.random();
      if (mine.length < 2 || (chance < 0.2 && mine.length < 4)) client.addTrack(await kit.track(160), 'storm');
      else if (chance < 0.35) client.removeTrack(pick(mine).id);
      else if (theirs.length) {
        const [sid, id] = pick(theirs);
        const isWanted = chance < 0.75;
        if (isWanted) client.requestPeerTrack(sid, id);
        else client.removePeerTrack(sid, id);
        kit.wanted[isWanted ? 'add' : 'delete'](id);
      }
      if (Math.random() < 0.3) await new Promise((resolve) => { setTimeout(resolve, Math.random() * 40); });
    }
  };
}
