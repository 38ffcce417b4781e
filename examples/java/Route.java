import archroute.v1.Message;
import archroute.v1.Part;
import archroute.v1.Role;
import archroute.v1.RouteOptions;
import archroute.v1.RouteRequest;
import archroute.v1.RouteResponse;
import archroute.v1.RouterServiceGrpc;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.StatusRuntimeException;
import java.util.concurrent.TimeUnit;

/**
 * Asks an archroute server which policy a message calls for.
 *
 * <pre>java Route MESSAGE [POLICY_SET]</pre>
 *
 * The address is taken from ARCHROUTE_ADDRESS.
 */
final class Route {

  // A gateway with a small model or a GPU should allow far less, and go on with a default model after that.
  private static final long TIMEOUT_SECONDS = 5;

  public static void main(String[] arguments) {
    if (arguments.length < 1) {
      System.err.println("usage: java Route MESSAGE [POLICY_SET]");
      System.exit(2);
    }
    String address = System.getenv().getOrDefault("ARCHROUTE_ADDRESS", "localhost:50051");
    ManagedChannel channel = ManagedChannelBuilder.forTarget(address).usePlaintext().build();
    try {
      print(
          RouterServiceGrpc.newBlockingStub(channel)
              .withDeadlineAfter(TIMEOUT_SECONDS, TimeUnit.SECONDS)
              .route(request(arguments)));
    } catch (StatusRuntimeException error) {
      explain(Failure.of(error));
      System.exit(1);
    } finally {
      channel.shutdownNow();
    }
  }

  private static RouteRequest request(String[] arguments) {
    Message message =
        Message.newBuilder()
            .setRole(Role.ROLE_USER)
            .addParts(Part.newBuilder().setText(arguments[0]))
            .build();
    RouteRequest.Builder request =
        RouteRequest.newBuilder()
            .addMessages(message)
            .setOptions(RouteOptions.newBuilder().setTopK(3));
    if (arguments.length > 1) {
      request.setPolicySet(arguments[1]);
    }
    return request.build();
  }

  private static void print(RouteResponse response) {
    System.out.println(response.getOutcome() + " " + response.getPolicy());
    response.getModelsList().forEach(model -> System.out.println("send it to " + model));
    response
        .getRankingList()
        .forEach(each -> System.out.printf("%.3f %s%n", each.getProbability(), each.getPolicy()));
  }

  private static void explain(Failure failure) {
    System.err.printf("%s [%s]%n", failure.message(), failure.reason());
    switch (failure.code()) {
      case INVALID_ARGUMENT -> {
        System.err.println("the request is wrong, and would be wrong again:");
        failure.fields().forEach((field, wrong) -> System.err.printf("  %s: %s%n", field, wrong));
      }
      case NOT_FOUND, FAILED_PRECONDITION ->
          System.err.println("the server has no such policy set, or no default one");
      case UNAUTHENTICATED, PERMISSION_DENIED ->
          System.err.println("the server does not accept who is calling: check the token");
      case RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, UNAVAILABLE -> {
        System.err.print("no decision in time: go on with a default model");
        if (failure.retryAfter() != null) {
          System.err.printf(", and ask again in %d ms", failure.retryAfter().toMillis());
        }
        System.err.println();
      }
      default ->
          System.err.println(
              "the server failed: go on with a default model, and report what its log says");
    }
  }
}
