package metricsapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// serviceObject is the APIService that says where this API is.
const serviceObject = "/apis/apiregistration.k8s.io/v1/apiservices/" + Version + "." + Group

// publishEvery is how often it is looked at: the authority may be renewed, and the APIService applied anew without it.
const publishEvery = 30 * time.Second

// Publish keeps the certificate authority (PEM) in the APIService, by which the API server knows this server, until ctx is done. It needs
// get and patch on that one APIService. While the authority is empty somebody else looks after it.
func Publish(ctx context.Context, client kubernetes.Interface, authority func() []byte, logger *slog.Logger) {
	ticker := time.NewTicker(publishEvery)
	defer ticker.Stop()
	logged := ""
	for {
		problem := ""
		if err := PublishOnce(ctx, client, authority()); err != nil && ctx.Err() == nil {
			if problem = err.Error(); problem != logged {
				logger.Warn("the API server does not know this aggregator's certificate: apply deploy/components/metrics-api", "err", err)
			}
		}
		logged = problem
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// PublishOnce writes the authority into the APIService if another one is there.
func PublishOnce(ctx context.Context, client kubernetes.Interface, authority []byte) error {
	if len(authority) == 0 {
		return nil
	}
	rest := client.Discovery().RESTClient()
	text, err := rest.Get().AbsPath(serviceObject).DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("read APIService %s.%s: %w", Version, Group, err)
	}
	var found struct {
		Spec struct {
			CABundle []byte `json:"caBundle"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return fmt.Errorf("read APIService %s.%s: %w", Version, Group, err)
	}
	if bytes.Equal(found.Spec.CABundle, authority) {
		return nil
	}
	found.Spec.CABundle = authority
	patch, err := json.Marshal(found)
	if err != nil {
		return err
	}
	if err := rest.Patch(types.MergePatchType).AbsPath(serviceObject).Body(patch).Do(ctx).Error(); err != nil {
		return fmt.Errorf("write caBundle of APIService %s.%s: %w", Version, Group, err)
	}
	return nil
}
