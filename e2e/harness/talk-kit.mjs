// What runs inside of pages that talk all the time: numbered messages go out, and what became of them is kept.

/** Is put into a page behind the page kit; it may not use anything from outside of itself. */
export function talkKit() {
  const talks = {};
  const told = (name, event) => kit.events[name].filter(([told]) => told === event).map(([, ...args]) => args);

  /** Sends a message to everybody who is connected, every so many milliseconds. */
  kit.talk = (name, every) => {
    const client = kit.clients[name];
    const talk = { last: 0, sent: [], refused: [] };
    talks[name] = talk;
    talk.timer = setInterval(() => {
      const to = client.connectedPeers;
      if (to.length === 0) return;
      const n = talk.last += 1;
      try {
        client.sendMessage({ from: name, n });
        talk.sent.push({ n, to });
      } catch (error) {
        talk.refused.push([n, error.code]);
      }
    }, every);
  };

  kit.hush = (name) => clearInterval(talks[name].timer);

  /** The number of the last message that was sent, and of the last of each sender that has come. */
  kit.talkState = (name) => {
    const heard = {};
    for (const [, message] of told(name, 'message')) if (message?.from) heard[message.from] = message.n;
    return { last: talks[name].last, heard };
  };

  /** Everything that was sent, came, and was told to be undelivered. */
  kit.talkReport = (name) => ({
    sent: talks[name].sent,
    refused: talks[name].refused,
    received: told(name, 'message').filter(([, message]) => message?.from).map(([, { from, n }]) => [from, n]),
    undelivered: told(name, 'messageUndelivered').map(([sid, message, mayHaveArrived]) => [sid, message.n, mayHaveArrived]),
    sids: told(name, 'acquireSid').map(([sid]) => sid),
  });
}
