// Notifies holders of new cards. On a laptop over plain HTTP; with certificates it asks every caller for one, and for a token.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { CardKind, type CardIssuedEvent } from "./gen/acme/card/v1/card_event_pb.js";
import { NotifyService as V1 } from "./gen/acme/notify/v1/notify_service_pb.js";
import { NotifyService as V2 } from "./gen/acme/notify/v2/notify_service_pb.js";

const secrets = process.env.ACME_SECRETS;
const secret = (name: string) => readFileSync(`${secrets}/${name}`);

function notify(version: string, event: CardIssuedEvent | undefined, context: HandlerContext) {
  if (secrets !== undefined) {
    const expected = `Bearer ${secret("notify-token").toString().trim()}`;
    if (context.requestHeader.get("authorization") !== expected) {
      console.log("refused a caller");
      throw new ConnectError("who are you?", Code.Unauthenticated);
    }
  }
  if (event?.issuedAt === undefined) {
    throw new ConnectError("the card has no time of issue", Code.InvalidArgument);
  }
  const labels = Object.entries(event.labels).sort().map(([name, value]) => `${name}=${value}`).join(",");
  console.log(
    `notified ${version} ${event.cardId} ${timestampDate(event.issuedAt).toISOString()} ${CardKind[event.kind]} ` +
      `${event.holder.case}:${event.holder.value} ${event.limitMinor} ${labels}`,
  );
  return {};
}

const routes = (router: ConnectRouter) => {
  router.service(V1, { notifyCardIssued: (request, context) => notify("v1", request.event, context) });
  router.service(V2, { notifyCardIssued: (request, context) => notify("v2", request.event, context) });
};

const handler = connectNodeAdapter({ routes });
const server =
  secrets === undefined
    ? createServer(handler)
    : createTlsServer(
        {
          cert: secret("notify.pem"),
          key: secret("notify.key"),
          ca: secret("ca.pem"),
          requestCert: true,
          rejectUnauthorized: true,
        },
        handler,
      );
server.listen(0, "127.0.0.1", () => console.log(`listening ${(server.address() as AddressInfo).port}`));
