package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// maxMessage bounds an answer. The kubelet's own client allows 16 MiB (kubernetes
// pkg/kubelet/apis/podresources/constants.go): gRPC's 4 MiB are too few for a node with very many pods.
const maxMessage = 16 << 20

// dial returns a connection to one of the kubelet's sockets, which need not be there yet.
func dial(socket string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///kubelet",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a unix socket that belongs to root
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("kubelet socket %q: %w", socket, err)
	}
	return conn, nil
}

// explain adds to gRPC's words what the user can do. What was asked is put as "list pod resources".
func explain(asked, socket string, err error) error {
	if missing(socket) {
		return fmt.Errorf("socket %s does not exist: the kubelet is not running, or its directory is not mounted", socket)
	}
	switch {
	case status.Code(err) == codes.DeadlineExceeded, errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s at %s: no answer in time", asked, socket)
	case status.Code(err) == codes.ResourceExhausted:
		return fmt.Errorf("%s at %s: %w (other clients use up the kubelet's rate limit)", asked, socket, err)
	}
	return fmt.Errorf("%s at %s: %w", asked, socket, err)
}

func missing(socket string) bool {
	_, err := os.Stat(socket)
	return errors.Is(err, fs.ErrNotExist)
}
