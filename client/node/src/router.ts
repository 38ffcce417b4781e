/** The client. */

import { create } from "@bufbuild/protobuf";
import { type CallOptions as GrpcCallOptions, type ChannelOptions, Client, type ClientUnaryCall, type MethodDefinition } from "@grpc/grpc-js";
import {
  callMetadata,
  channelCredentials,
  channelOptions,
  checkedAddress,
  checkTokenIsPrivate,
  type TlsOptions,
} from "./channel.js";
import { type Decision, toDecision } from "./decision.js";
import { invalid, ProtocolError } from "./errors.js";
import type { Conversation } from "./message.js";
import { type Policy, type RouteOptions, toRequest } from "./request.js";
import { checkedDefaults, type Defaults, type Selection, selectionOf, selectionWithout } from "./selection.js";
import { METHODS } from "./service.js";
import { callError } from "./status.js";
import { RouteStream, type StreamAnswer, type StreamRequest } from "./stream.js";
import { GetPolicySetRequestSchema, ListPolicySetsRequestSchema } from "./stubs/archroute/v1/router_pb.js";

/** Milliseconds. What a gateway can wait for a decision before it goes on without one. */
export const DEFAULT_TIMEOUT = 250;

/** How a router is set up. */
export interface RouterOptions {
  /** Milliseconds that a call may take if it does not say, 250 unless set; `Infinity` for no limit. */
  readonly timeout?: number;
  /** Where `select` sends what no policy names a model for. `select` needs it, nothing else does. */
  readonly defaults?: Defaults;
  /** TLS, with certificates of one's own or with those that Node.js trusts (`true`). Plain text without it. */
  readonly tls?: boolean | TlsOptions;
  /** Sent as a bearer token; a function is asked before each call. Needs `tls`, except on this machine. */
  readonly token?: string | (() => string);
  /** gRPC channel options, over those of this package. */
  readonly channelOptions?: ChannelOptions;
}

/** How one call is made. */
export interface CallOptions {
  /** Milliseconds that the call may take; `Infinity` for no limit. By default the router's own. */
  readonly timeout?: number;
  /** Cancels the call. */
  readonly signal?: AbortSignal;
}

/** A policy set of a server, whole. */
export interface PolicySet {
  readonly name: string;
  /** SHA-256 of the policies, as `sha256:<hex>`. */
  readonly revision: string;
  readonly policies: readonly Policy[];
  /** The name of the policy that a `fallback` names; null if the set declares none. */
  readonly defaultPolicy: string | null;
}

/** A policy set of a server, as a list shows it. */
export interface PolicySetSummary {
  readonly name: string;
  readonly revision: string;
  readonly policyCount: number;
  /** Whether a request that names no policies is decided by this set. */
  readonly isDefault: boolean;
}

/**
 * Asks an archroute server which policy a conversation calls for.
 *
 *     const router = new Router("localhost:50051", { defaults: { models: ["openai/gpt-5-mini"] } });
 *     const { model } = await router.select("My pod keeps restarting", { policySet: "llm-gateway" });
 *
 * Connects on the first call and reconnects by itself. Share one among all calls, and close it when done.
 * Every method but `select` rejects with a subclass of `ArchrouteError`.
 */
export class Router {
  readonly #address: string;
  readonly #timeout: number;
  readonly #defaults: Defaults | undefined;
  readonly #token: (() => string) | undefined;
  readonly #client: Client;

  /** Opens no connection yet. Throws `InvalidRequestError` for an address or an option that is none. */
  constructor(address: string, options: RouterOptions = {}) {
    this.#address = checkedAddress(address);
    this.#timeout = checkedTimeout(options.timeout ?? DEFAULT_TIMEOUT);
    this.#defaults = options.defaults && checkedDefaults(options.defaults);
    const { token } = options;
    if (token !== undefined) {
      checkTokenIsPrivate(this.#address, options.tls);
      this.#token = typeof token === "function" ? token : () => token;
    }
    this.#client = new Client(
      this.#address,
      channelCredentials(options.tls),
      channelOptions(options.tls, options.channelOptions),
    );
  }

  /** Decides one conversation. */
  async route(messages: Conversation, options: RouteOptions & CallOptions = {}): Promise<Decision> {
    const request = toRequest({ ...options, messages });
    return toDecision(await this.#call(METHODS.route, request, options), this.#address);
  }

  /**
   * Chooses the model to send a conversation to. Whatever happens to the router, or is wrong with the request,
   * there is a selection: of the declared default, with the reason and the error. It rejects only if the router
   * was built without `defaults`.
   */
  async select(messages: Conversation, options: RouteOptions & CallOptions = {}): Promise<Selection> {
    const defaults = this.#defaults;
    if (defaults === undefined) {
      throw invalid("defaults", "select needs them: new Router(address, { defaults: { models: [...] } })");
    }
    try {
      return selectionOf(await this.route(messages, options), defaults);
    } catch (error) {
      return selectionWithout(error, defaults);
    }
  }

  /**
   * Decides many conversations over one stream. Yields what became of each request as it comes, which may be in
   * another order; throws what ends the stream, such as a lost connection, or an error of `requests`, once what
   * was sent before it is answered. Without a `timeout` there is no limit, since its length is yours.
   */
  async *routeStream(
    requests: Iterable<StreamRequest> | AsyncIterable<StreamRequest>,
    options: CallOptions = {},
  ): AsyncGenerator<StreamAnswer, void> {
    const { path, requestSerialize, responseDeserialize } = METHODS.routeStream;
    const call = this.#client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      callMetadata(this.#token?.()),
      grpcOptions(options.timeout ?? Number.POSITIVE_INFINITY),
    );
    const cancel = () => call.cancel();
    options.signal?.addEventListener("abort", cancel, { once: true });
    if (options.signal?.aborted) {
      cancel();
    }
    try {
      yield* new RouteStream(call, this.#address).answers(requests);
    } finally {
      options.signal?.removeEventListener("abort", cancel);
    }
  }

  /** Names the policy sets that the server holds, in the order of their names. */
  async listPolicySets(options: CallOptions = {}): Promise<PolicySetSummary[]> {
    const request = create(ListPolicySetsRequestSchema);
    const { policySets } = await this.#call(METHODS.listPolicySets, request, options);
    return policySets.map(({ name, revision, policyCount, isDefault }) => ({ name, revision, policyCount, isDefault }));
  }

  /** Shows one policy set whole; the default set for an empty name. */
  async getPolicySet(name = "", options: CallOptions = {}): Promise<PolicySet> {
    const request = create(GetPolicySetRequestSchema, { name });
    const { policySet } = await this.#call(METHODS.getPolicySet, request, options);
    if (policySet === undefined) {
      throw new ProtocolError(`the answer from ${this.#address} holds no policy set`);
    }
    const policies = policySet.policies.map(({ name, description, models }) => ({ name, description, models }));
    const { revision, defaultPolicy } = policySet;
    return { name: policySet.name, revision, policies, defaultPolicy: defaultPolicy || null };
  }

  /** Closes the connection once the calls under way have ended; later calls fail. */
  close(): void {
    this.#client.close();
  }

  async #call<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    { timeout = this.#timeout, signal }: CallOptions,
  ): Promise<Response> {
    const metadata = callMetadata(this.#token?.());
    const options = grpcOptions(timeout);
    let call: ClientUnaryCall | undefined;
    const cancel = () => call?.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      return await new Promise<Response>((resolve, reject) => {
        const { path, requestSerialize, responseDeserialize } = method;
        call = this.#client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          metadata,
          options,
          (error, response) => (error ? reject(error) : resolve(response as Response)),
        );
        if (signal?.aborted) {
          call.cancel();
        }
      });
    } catch (error) {
      throw callError(error, this.#address);
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }
}

function grpcOptions(timeout: number): GrpcCallOptions {
  return { deadline: Date.now() + checkedTimeout(timeout) };
}

function checkedTimeout(timeout: number): number {
  if (typeof timeout !== "number" || !(timeout > 0)) {
    throw invalid("timeout", "must be a number of milliseconds above 0, or Infinity for no limit");
  }
  return timeout;
}
