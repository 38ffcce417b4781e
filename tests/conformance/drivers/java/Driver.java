import archroute.v1.RouteError;
import archroute.v1.RouteRequest;
import archroute.v1.RouteResponse;
import archroute.v1.RouteStreamRequest;
import archroute.v1.RouteStreamResponse;
import archroute.v1.RouterServiceGrpc;
import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.Durations;
import com.google.protobuf.util.JsonFormat;
import grpc.health.v1.HealthGrpc;
import grpc.health.v1.HealthOuterClass.HealthCheckRequest;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Makes the calls of the conformance cases with stubs for Java. See README.md two folders above. */
final class Driver {

  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  public static void main(String[] arguments) throws Exception {
    JsonObject plan =
        JsonParser.parseReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))
            .getAsJsonObject();
    Map<?, ?> serviceConfig = new Gson().fromJson(plan.get("service_config").getAsString(), Map.class);
    PrintStream output = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (JsonElement element : plan.getAsJsonArray("cases")) {
      JsonObject planned = element.getAsJsonObject();
      String target = planned.get("target").getAsString();
      ManagedChannel channel =
          connect(plan.getAsJsonObject("targets").getAsJsonObject(target), serviceConfig);
      try {
        JsonObject result =
            switch (planned.get("call").getAsString()) {
              case "route" -> route(channel, planned);
              case "route_stream" -> routeStream(channel, planned);
              case "check_health" -> checkHealth(channel, planned);
              default -> throw new IllegalArgumentException(planned.get("call").getAsString());
            };
        result.add("name", planned.get("name"));
        output.println(result);
      } finally {
        channel.shutdownNow();
      }
    }
  }

  @SuppressWarnings("unchecked")
  private static ManagedChannel connect(JsonObject target, Map<?, ?> serviceConfig)
      throws IOException {
    ChannelCredentials credentials = InsecureChannelCredentials.create();
    if (target.has("tls")) {
      TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
      if (target.has("ca")) {
        byte[] pem = target.get("ca").getAsString().getBytes(StandardCharsets.UTF_8);
        tls.trustManager(new ByteArrayInputStream(pem));
      }
      credentials = tls.build();
    }
    ManagedChannelBuilder<?> builder =
        Grpc.newChannelBuilder(target.get("address").getAsString(), credentials)
            .defaultServiceConfig((Map<String, ?>) serviceConfig)
            .enableRetry();
    if (target.has("token")) {
      Metadata metadata = new Metadata();
      metadata.put(AUTHORIZATION, "Bearer " + target.get("token").getAsString());
      builder.intercept(MetadataUtils.newAttachHeadersInterceptor(metadata));
    }
    return builder.build();
  }

  private static JsonObject route(ManagedChannel channel, JsonObject planned) throws IOException {
    RouteRequest.Builder request = RouteRequest.newBuilder();
    JsonFormat.parser().merge(planned.get("request").toString(), request);
    JsonObject result = new JsonObject();
    try {
      RouteResponse response =
          RouterServiceGrpc.newBlockingStub(channel)
              .withDeadlineAfter(timeout(planned), TimeUnit.MILLISECONDS)
              .route(request.build());
      result.add("response", toJson(response));
    } catch (StatusRuntimeException error) {
      result.add("error", toJson(Failure.of(error)));
    }
    return result;
  }

  private static JsonObject routeStream(ManagedChannel channel, JsonObject planned)
      throws IOException, InterruptedException {
    JsonObject result = new JsonObject();
    JsonArray answers = new JsonArray();
    result.add("answers", answers);
    CountDownLatch ended = new CountDownLatch(1);
    StreamObserver<RouteStreamRequest> requests =
        RouterServiceGrpc.newStub(channel)
            .withDeadlineAfter(timeout(planned), TimeUnit.MILLISECONDS)
            .routeStream(
                new StreamObserver<>() {
                  @Override
                  public void onNext(RouteStreamResponse response) {
                    JsonObject answer = new JsonObject();
                    answer.addProperty("request_id", response.getRequestId());
                    if (response.hasError()) {
                      answer.add("error", toJson(response.getError()));
                    } else {
                      answer.add("response", toJson(response.getResponse()));
                    }
                    answers.add(answer);
                  }

                  @Override
                  public void onError(Throwable error) {
                    Status status = Status.fromThrowable(error);
                    Metadata trailers = Status.trailersFromThrowable(error);
                    result.add("error", toJson(Failure.of(status.asRuntimeException(trailers))));
                    ended.countDown();
                  }

                  @Override
                  public void onCompleted() {
                    ended.countDown();
                  }
                });
    for (JsonElement element : planned.getAsJsonArray("requests")) {
      RouteStreamRequest.Builder request = RouteStreamRequest.newBuilder();
      JsonFormat.parser().merge(element.toString(), request);
      requests.onNext(request.build());
    }
    requests.onCompleted();
    ended.await();
    return result;
  }

  private static JsonObject checkHealth(ManagedChannel channel, JsonObject planned) {
    String service = planned.get("service").getAsString();
    HealthCheckRequest request = HealthCheckRequest.newBuilder().setService(service).build();
    JsonObject result = new JsonObject();
    try {
      var response =
          HealthGrpc.newBlockingStub(channel)
              .withDeadlineAfter(timeout(planned), TimeUnit.MILLISECONDS)
              .check(request);
      result.addProperty("status", response.getStatus().name());
    } catch (StatusRuntimeException error) {
      result.add("error", toJson(Failure.of(error)));
    }
    return result;
  }

  private static long timeout(JsonObject planned) {
    return (long) (planned.get("timeout").getAsDouble() * 1000);
  }

  private static JsonElement toJson(Message message) {
    try {
      return JsonParser.parseString(JsonFormat.printer().print(message));
    } catch (InvalidProtocolBufferException impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  private static JsonObject toJson(Failure failure) {
    JsonArray fields = new JsonArray();
    failure.fields().keySet().forEach(fields::add);
    Long wait = failure.retryAfter() == null ? null : failure.retryAfter().toMillis();
    return error(failure.code(), failure.reason(), fields, wait);
  }

  private static JsonObject toJson(RouteError error) {
    JsonArray fields = new JsonArray();
    error.getFieldViolationsList().forEach(violation -> fields.add(violation.getField()));
    Long wait = error.hasRetryAfter() ? Durations.toMillis(error.getRetryAfter()) : null;
    return error(Status.fromCodeValue(error.getCode()).getCode(), error.getReason(), fields, wait);
  }

  private static JsonObject error(Status.Code code, String reason, JsonArray fields, Long wait) {
    JsonObject error = new JsonObject();
    error.addProperty("code", code.name());
    error.addProperty("reason", reason);
    error.add("fields", fields);
    error.addProperty("retry_after_ms", wait);
    return error;
  }
}
