// Apps on matrix-js-sdk, as their authors would write them: what they show comes
// from the SDK's own rooms, threads, members and timelines. Each file in stories/
// tells of one part of such an app. All are told at once, and each says the
// chapters that came true, or why the next one did not.
// Usage: node stories.mjs <URL of the homeserver> <name of a story>…

import { login, open, register, sync } from "./app.mjs";

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

async function tell(story) {
  const clients = [];
  const own = (client) => {
    clients.push(client);
    return client;
  };
  try {
    const { default: happens } = await import(`./stories/${story}.mjs`);
    await happens({
      // chapter says what has just come true.
      chapter: (sentence) => say({ story, chapter: sentence, ms: Math.round(performance.now()) }),
      // arrive makes a user with an app that syncs.
      arrive: async (name, options) => {
        const client = own(open(await register(`${name.toLowerCase().replace(/ .*/, "")}-${story}`)));
        await client.setDisplayName(name);
        return sync(client, options);
      },
      // another makes another such app, on a new device of the user.
      another: async (user, options) => own(await login(user, options)),
    });
    say({ story, over: true });
  } catch (err) {
    say({ story, error: String(err?.stack ?? err) });
  }
  for (const client of clients) client.stopClient();
}

await Promise.all(process.argv.slice(3).map(tell));
// The SDK has timers that would keep the process.
process.stdout.write("", () => process.exit());
