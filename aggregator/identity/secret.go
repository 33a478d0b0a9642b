package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// SecretName holds the CA and the serving certificate with their keys.
	SecretName = "foretide-tls"
	// ConfigMapName holds the CA's certificate under ca.crt, for the agents to mount.
	ConfigMapName = "foretide-ca"
)

// Secret is a CertificateStore in a namespace of Kubernetes: the Secret foretide-tls (type kubernetes.io/tls, with the further
// keys ca.crt and ca.key) and the ConfigMap foretide-ca. It needs get, create and update on both.
type Secret struct {
	Client    kubernetes.Interface
	Namespace string
}

// Load reads the Secret. Its version is the resourceVersion, empty when there is no Secret.
func (s Secret) Load(ctx context.Context) (Bundle, string, error) {
	secret, err := s.Client.CoreV1().Secrets(s.Namespace).Get(ctx, SecretName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return Bundle{}, "", nil
	}
	if err != nil {
		return Bundle{}, "", fmt.Errorf("load certificate from secret %s/%s: %w", s.Namespace, SecretName, err)
	}
	var b Bundle
	for _, part := range b.parts() {
		*part.content = secret.Data[part.name]
	}
	return b, secret.ResourceVersion, nil
}

// Save creates the Secret when the version is empty, else updates it.
func (s Secret) Save(ctx context.Context, b Bundle, version string) error {
	secrets := s.Client.CoreV1().Secrets(s.Namespace)
	data := make(map[string][]byte)
	for _, part := range b.parts() {
		data[part.name] = *part.content
	}
	var err error
	if version == "" {
		_, err = secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: SecretName, Namespace: s.Namespace, Labels: labels()},
			Type:       corev1.SecretTypeTLS, Data: data,
		}, metav1.CreateOptions{})
	} else {
		err = s.update(ctx, data, version)
	}
	switch {
	case errors.Is(err, ErrConflict), apierrors.IsAlreadyExists(err), apierrors.IsConflict(err), apierrors.IsNotFound(err) && version != "":
		return ErrConflict
	case err != nil:
		return fmt.Errorf("save certificate to secret %s/%s: %w", s.Namespace, SecretName, err)
	}
	return nil
}

// update keeps what else is in the object. The API server refuses it when the object has changed since it was read.
func (s Secret) update(ctx context.Context, data map[string][]byte, version string) error {
	secrets := s.Client.CoreV1().Secrets(s.Namespace)
	current, err := secrets.Get(ctx, SecretName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if current.ResourceVersion != version {
		return ErrConflict
	}
	if current.Data == nil {
		current.Data = make(map[string][]byte)
	}
	maps.Copy(current.Data, data)
	_, err = secrets.Update(ctx, current, metav1.UpdateOptions{})
	return err
}

// Publish writes the CA's certificate to the ConfigMap if it is not there.
func (s Secret) Publish(ctx context.Context, caPEM []byte) error {
	configMaps := s.Client.CoreV1().ConfigMaps(s.Namespace)
	for range saveTries {
		current, err := configMaps.Get(ctx, ConfigMapName, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			_, err = configMaps.Create(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: ConfigMapName, Namespace: s.Namespace, Labels: labels()},
				Data:       map[string]string{caCertificateFile: string(caPEM)},
			}, metav1.CreateOptions{})
		case err == nil && bytes.Equal([]byte(current.Data[caCertificateFile]), caPEM):
			return nil
		case err == nil:
			if current.Data == nil {
				current.Data = make(map[string]string)
			}
			current.Data[caCertificateFile] = string(caPEM)
			_, err = configMaps.Update(ctx, current, metav1.UpdateOptions{})
		}
		if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("publish CA in configmap %s/%s: %w", s.Namespace, ConfigMapName, err)
		}
		return nil
	}
	return fmt.Errorf("publish CA in configmap %s/%s: %w", s.Namespace, ConfigMapName, ErrConflict)
}

func labels() map[string]string {
	return map[string]string{"app.kubernetes.io/part-of": "foretide", "app.kubernetes.io/managed-by": "foretide-aggregator"}
}
