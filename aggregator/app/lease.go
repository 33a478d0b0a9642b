package app

import (
	"fmt"
	"os"

	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"

	corev1 "k8s.io/api/core/v1"
)

// leaseName is the Lease whose holder scales.
const leaseName = "foretide-aggregator"

// newLease is the Lease in the name of a history. A process that was killed and comes back to its history holds the Lease it
// held: it need not wait for it to run out, and nobody else can have that history open. stop ends its events.
func newLease(config *rest.Config, namespace, store string) (lease resourcelock.Interface, stop func(), err error) {
	config = rest.AddUserAgent(config, "leader-election")
	config.Timeout = renewWithin / 2 // one request that hangs must not cost the Lease
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, nil, fmt.Errorf("name of this host: %w", err)
	}
	events := record.NewBroadcaster()
	events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: client.CoreV1().Events(namespace)})
	identity := host + "_" + store
	lease, err = resourcelock.New(resourcelock.LeasesResourceLock, namespace, leaseName, client.CoreV1(), client.CoordinationV1(),
		resourcelock.ResourceLockConfig{
			Identity:      identity,
			EventRecorder: events.NewRecorder(clientgoscheme.Scheme, corev1.EventSource{Component: identity}),
		})
	return lease, events.Shutdown, err
}
