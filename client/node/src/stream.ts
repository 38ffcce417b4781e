/** One RouteStream call, fed and read at the same time. */

import { once } from "node:events";
import { create } from "@bufbuild/protobuf";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import { type Decision, toDecision } from "./decision.js";
import { ArchrouteError, invalid, ProtocolError } from "./errors.js";
import { type RouteRequest, toRequest } from "./request.js";
import { callError, routeError } from "./status.js";
import {
  type RouteStreamRequest,
  RouteStreamRequestSchema,
  type RouteStreamResponse,
} from "./stubs/archroute/v1/router_pb.js";

/** A request with an id that is unique among those that wait for their answers. */
export interface StreamRequest extends RouteRequest {
  readonly requestId: string;
}

/** What became of one request: a decision, or the error that concerns it alone. */
export type StreamAnswer =
  | { readonly requestId: string; readonly decision: Decision; readonly error?: undefined }
  | { readonly requestId: string; readonly decision?: undefined; readonly error: ArchrouteError };

type Call = ClientDuplexStream<RouteStreamRequest, RouteStreamResponse>;

/**
 * Sends requests and yields answers as they come.
 *
 *     requests ── send ──> gRPC ── receive ──> answers ──> the caller
 *                  └── a request that cannot be sent ──> answers
 */
export class RouteStream {
  readonly #call: Call;
  readonly #address: string;
  readonly #waiting = new Set<string>();
  /** Answers that the caller has not taken yet, and how to wake it. */
  readonly #answers: StreamAnswer[] = [];
  #wake: () => void = () => {};
  #ended = false;
  #allSent = false;
  /** The first failure, which is the cause of those that follow it. */
  #failure: Error | undefined;

  constructor(call: Call, address: string) {
    this.#call = call;
    this.#address = address;
  }

  /** Yields the answers, then throws what ended the stream early, if anything did. */
  async *answers(requests: Iterable<StreamRequest> | AsyncIterable<StreamRequest>): AsyncGenerator<StreamAnswer, void> {
    this.#call.on("data", (response: RouteStreamResponse) => this.#receive(response));
    this.#call.on("error", (error) => this.#finish(callError(error, this.#address)));
    this.#call.on("end", () => this.#finish());
    const sending = this.#send(requests);
    try {
      while (true) {
        const answer = this.#answers.shift();
        if (answer !== undefined) {
          yield answer;
        } else if (this.#ended) {
          break;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
      if (this.#failure !== undefined) {
        throw this.#failure;
      }
    } finally {
      this.#ended = true;
      this.#call.cancel();
      // Reported above if it is the cause; an iterator that never ends must not keep the caller here.
      sending.catch(() => {});
    }
  }

  async #send(requests: Iterable<StreamRequest> | AsyncIterable<StreamRequest>): Promise<void> {
    try {
      for await (const request of requests) {
        const message = this.#toMessage(request);
        if (this.#ended) {
          return;
        }
        if (message !== undefined && !this.#call.write(message)) {
          // gRPC's flow control: the server has as many under way as it takes of one stream.
          await Promise.race([once(this.#call, "drain"), once(this.#call, "close")]);
        }
      }
      this.#allSent = true;
    } catch (error) {
      // What was sent before is still answered; then the caller is told.
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
    }
    this.#call.end();
  }

  #toMessage({ requestId, ...request }: StreamRequest): RouteStreamRequest | undefined {
    // Without an id of its own a request cannot be answered: such an error ends the stream.
    if (!requestId) {
      throw invalid("requestId", "must not be empty");
    }
    if (this.#waiting.has(requestId)) {
      throw invalid("requestId", `${JSON.stringify(requestId)} waits for its answer already; use each id once`);
    }
    try {
      const message = create(RouteStreamRequestSchema, { requestId, request: toRequest(request) });
      this.#waiting.add(requestId);
      return message;
    } catch (error) {
      if (!(error instanceof ArchrouteError)) {
        throw error;
      }
      this.#emit({ requestId, error });
      return undefined;
    }
  }

  #receive(response: RouteStreamResponse): void {
    const { requestId } = response;
    if (!this.#waiting.delete(requestId)) {
      const error = `${this.#address} answered ${JSON.stringify(requestId)}, which was not asked`;
      this.#finish(new ProtocolError(error));
      this.#call.cancel();
      return;
    }
    this.#emit(this.#toAnswer(response));
  }

  #toAnswer({ requestId, result }: RouteStreamResponse): StreamAnswer {
    if (result.case === "error") {
      return { requestId, error: routeError(result.value, this.#address) };
    }
    try {
      if (result.case === undefined) {
        throw new ProtocolError(`the answer from ${this.#address} is neither a decision nor an error`);
      }
      return { requestId, decision: toDecision(result.value, this.#address) };
    } catch (error) {
      return { requestId, error: error as ProtocolError };
    }
  }

  #emit(answer: StreamAnswer): void {
    this.#answers.push(answer);
    this.#wake();
  }

  #finish(failure?: Error): void {
    if (this.#ended) {
      return;
    }
    this.#ended = true;
    this.#failure ??= failure;
    if (this.#failure === undefined && (this.#waiting.size > 0 || !this.#allSent)) {
      const unanswered = `${this.#waiting.size} requests unanswered`;
      this.#failure = new ProtocolError(`${this.#address} ended the stream with ${unanswered}`);
    }
    this.#wake();
  }
}
