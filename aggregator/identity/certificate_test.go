package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

var (
	start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	names = []string{"foretide-aggregator.foretide-system.svc", "localhost", "127.0.0.1"}
	quiet = slog.New(slog.DiscardHandler)
)

const namespace = "foretide-system"

// cluster is a fake API server that, as the real one, refuses an update of an object that has changed.
func cluster(objects ...runtime.Object) *fake.Clientset {
	client := fake.NewClientset(objects...)
	var mu sync.Mutex
	versions := map[string]int{}
	client.PrependReactor("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		var object runtime.Object
		switch a := action.(type) {
		case clienttesting.UpdateAction: // a create is one, too
			object = a.GetObject()
		default:
			return false, nil, nil
		}
		meta, ok := object.(metav1.Object)
		if !ok {
			return false, nil, nil
		}
		mu.Lock()
		defer mu.Unlock()
		key := action.GetResource().Resource + "/" + meta.GetName()
		current := strings.Repeat("i", versions[key])
		if action.GetVerb() == "update" && meta.GetResourceVersion() != current {
			return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: action.GetResource().Resource}, meta.GetName(), errors.New("changed"))
		}
		versions[key]++
		meta.SetResourceVersion(current + "i")
		return false, nil, nil
	})
	return client
}

func ensure(t *testing.T, store CertificateStore, names []string, now time.Time) (tls.Certificate, []byte) {
	t.Helper()
	certificate, ca, err := EnsureCertificate(t.Context(), store, names, now)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, ca
}

// handshake lets a client that trusts the CA talk to a server with the certificate at a given moment.
func handshake(t *testing.T, certificate *tls.Certificate, ca []byte, name string, now time.Time) error {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatalf("CA is not PEM: %q", ca)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0",
		ServerTLS(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate, nil }))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		connection, err := listener.Accept()
		if err == nil {
			_, _ = io.Copy(io.Discard, connection) // which shakes hands first
			_ = connection.Close()
		}
	}()
	client, err := tls.Dial("tcp", listener.Addr().String(),
		&tls.Config{RootCAs: pool, ServerName: name, Time: func() time.Time { return now }})
	if err != nil {
		return err
	}
	return client.Close()
}

func stores(t *testing.T) map[string]CertificateStore {
	return map[string]CertificateStore{
		"directory": Directory(filepath.Join(t.TempDir(), "tls")),
		"secret":    Secret{Client: cluster(), Namespace: namespace},
	}
}

func TestCertificateIsMadeOnceAndTrustedByItsCA(t *testing.T) {
	for kind, store := range stores(t) {
		t.Run(kind, func(t *testing.T) {
			first, ca := ensure(t, store, names, start)
			for _, name := range names {
				if err := handshake(t, &first, ca, name, start); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if err := handshake(t, &first, ca, "elsewhere", start); err == nil {
				t.Error("a name it is not for is accepted")
			}
			if first.Leaf.PublicKeyAlgorithm != x509.ECDSA || first.Leaf.IsCA || len(first.Leaf.ExtKeyUsage) != 1 {
				t.Errorf("leaf: %v, CA %v, usages %v", first.Leaf.PublicKeyAlgorithm, first.Leaf.IsCA, first.Leaf.ExtKeyUsage)
			}
			again, caAgain := ensure(t, store, names[:1], start.Add(200*24*time.Hour))
			if !again.Leaf.Equal(first.Leaf) || string(ca) != string(caAgain) {
				t.Error("a good certificate was replaced")
			}
		})
	}
}

func TestCertificateIsRenewedInTimeByTheSameCA(t *testing.T) {
	for kind, store := range stores(t) {
		t.Run(kind, func(t *testing.T) {
			first, ca := ensure(t, store, names, start)
			later := start.Add(250 * 24 * time.Hour) // less than a third of the year is left
			second, caSecond := ensure(t, store, names, later)
			if second.Leaf.Equal(first.Leaf) || string(caSecond) != string(ca) {
				t.Error("want another leaf of the same CA")
			}
			if err := handshake(t, &second, ca, names[0], later.Add(300*24*time.Hour)); err != nil {
				t.Error(err)
			}
			third, _ := ensure(t, store, append([]string{"new-name"}, names...), later)
			if err := handshake(t, &third, ca, "new-name", later); err != nil {
				t.Errorf("a further name: %v", err)
			}
			late := start.Add(7 * 365 * 24 * time.Hour) // less than a third of ten years is left
			fourth, caFourth := ensure(t, store, names, late)
			if string(caFourth) == string(ca) {
				t.Error("the CA was not renewed")
			}
			if err := handshake(t, &fourth, caFourth, names[0], late); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestClockBeforeTheCAChangesNothing(t *testing.T) {
	store := Directory(t.TempDir())
	first, _ := ensure(t, store, names, start)
	if _, _, err := EnsureCertificate(t.Context(), store, names, start.Add(-48*time.Hour)); err == nil || !strings.Contains(err.Error(), "one of the clocks was wrong") {
		t.Errorf("error %v, want one about the clocks", err)
	}
	if again, _ := ensure(t, store, names, start); !again.Leaf.Equal(first.Leaf) {
		t.Error("the certificate was replaced")
	}
}

func TestFilesOfTheDirectoryAreThePrivateOnesOfTheOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	ensure(t, Directory(dir), names, start)
	for _, name := range []string{"ca.crt", "ca.key", "tls.crt", "tls.key"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", name, info.Mode().Perm())
		}
	}
}

func TestHalfWrittenDirectoryIsMadeWhole(t *testing.T) {
	for _, missing := range []string{"ca.crt", "tls.crt", "tls.key"} {
		dir := t.TempDir()
		ensure(t, Directory(dir), names, start)
		if err := os.Remove(filepath.Join(dir, missing)); err != nil {
			t.Fatal(err)
		}
		certificate, ca := ensure(t, Directory(dir), names, start)
		if err := handshake(t, &certificate, ca, names[0], start); err != nil {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

func TestForeignCertificateIsUsedAndNeverReplaced(t *testing.T) {
	dir := t.TempDir()
	first, _ := ensure(t, Directory(dir), names, start)
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	used, _ := ensure(t, Directory(dir), names, start.Add(300*24*time.Hour)) // its maker will renew it
	if !used.Leaf.Equal(first.Leaf) {
		t.Error("the certificate was replaced")
	}
	for _, c := range []struct {
		names []string
		now   time.Time
	}{{names, start.Add(366 * 24 * time.Hour)}, {[]string{"elsewhere"}, start}} {
		if _, _, err := EnsureCertificate(t.Context(), Directory(dir), c.names, c.now); err == nil || !strings.Contains(err.Error(), "was not made by the aggregator") {
			t.Errorf("error %v, want one that says whose it is", err)
		}
	}
}

func TestReplicasThatStartTogetherShareOneCertificate(t *testing.T) {
	for kind, store := range stores(t) {
		t.Run(kind, func(t *testing.T) {
			var all sync.WaitGroup
			results := make([]tls.Certificate, 6)
			for i := range results {
				all.Go(func() {
					var err error
					if results[i], _, err = EnsureCertificate(t.Context(), store, names, start); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			for i, r := range results {
				if r.Leaf == nil || !r.Leaf.Equal(results[0].Leaf) {
					t.Errorf("replica %d has another certificate", i)
				}
			}
		})
	}
}

func TestCAIsPublishedForTheAgents(t *testing.T) {
	for name, objects := range map[string][]runtime.Object{
		"nothing there": nil,
		"empty objects of the deployment": {
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: ConfigMapName, Namespace: namespace}},
		},
		"a stale CA": {
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: ConfigMapName, Namespace: namespace}, Data: map[string]string{"ca.crt": "old", "other": "kept"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			client := cluster(objects...)
			_, ca := ensure(t, Secret{client, namespace}, names, start)
			got, err := client.CoreV1().ConfigMaps(namespace).Get(t.Context(), "foretide-ca", metav1.GetOptions{})
			if err != nil || got.Data["ca.crt"] != string(ca) {
				t.Fatalf("configmap %v, %v", got, err)
			}
			if block, _ := pem.Decode([]byte(got.Data["ca.crt"])); block == nil || block.Type != "CERTIFICATE" {
				t.Error("ca.crt is not a certificate")
			}
			if name == "a stale CA" && got.Data["other"] != "kept" {
				t.Error("another key was lost")
			}
			secret, err := client.CoreV1().Secrets(namespace).Get(t.Context(), "foretide-tls", metav1.GetOptions{})
			if err != nil || secret.Type != corev1.SecretTypeTLS || len(secret.Data) != 4 {
				t.Errorf("secret %v with %d keys, %v", secret.Type, len(secret.Data), err)
			}
		})
	}
}

func TestStoreThatCannotBeReachedIsNamed(t *testing.T) {
	client := cluster()
	client.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, SecretName, errors.New("no rule"))
	})
	_, _, err := EnsureCertificate(t.Context(), Secret{client, namespace}, names, start)
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "secret foretide-system/foretide-tls") {
		t.Errorf("error %v", err)
	}
}

func TestManagedFollowsWhatAnotherReplicaStored(t *testing.T) {
	store := Secret{cluster(), namespace}
	m, err := NewManaged(t.Context(), store, names, start, quiet)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := m.GetCertificate(nil)
	later := start.Add(300 * 24 * time.Hour)
	other, _ := ensure(t, store, names, later)
	if err := m.refresh(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	after, _ := m.GetCertificate(nil)
	if after.Leaf.Equal(before.Leaf) || !after.Leaf.Equal(other.Leaf) {
		t.Error("the other replica's certificate was not taken over")
	}
	if err := handshake(t, after, m.CA(), names[0], later); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.Run(ctx) // returns
}

func TestFilesAreReadAgainWhenTheyChange(t *testing.T) {
	source := t.TempDir()
	put := func(t *testing.T, at time.Time, parts ...string) {
		t.Helper()
		for _, p := range parts {
			if err := os.Chtimes(filepath.Join(source, p), at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	first, _ := ensure(t, Directory(source), names, start)
	put(t, start, "tls.crt", "tls.key")
	f, err := NewFiles(filepath.Join(source, "tls.crt"), filepath.Join(source, "tls.key"), quiet)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(what string, want tls.Certificate) {
		t.Helper()
		got, err := f.GetCertificate(nil)
		if err != nil || !got.Leaf.Equal(want.Leaf) {
			t.Errorf("%s: another certificate, %v", what, err)
		}
	}
	expect("at the start", first)
	second, _ := ensure(t, Directory(source), names, start.Add(300*24*time.Hour))
	expect("after both were replaced", second)
	if err := os.WriteFile(filepath.Join(source, "tls.key"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("with a broken key", second)
	if err := os.Remove(filepath.Join(source, "tls.crt")); err != nil {
		t.Fatal(err)
	}
	expect("with a missing file", second)

	if _, err := NewFiles("", "x", quiet); err == nil {
		t.Error("a missing path gives no error")
	}
	if _, err := NewFiles(filepath.Join(source, "tls.crt"), filepath.Join(source, "tls.key"), quiet); err == nil {
		t.Error("missing files at the start give no error")
	}
}
