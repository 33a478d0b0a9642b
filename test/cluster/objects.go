package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/foretide/foretide/test/cluster/gpu"
)

const rbacPath = "/apis/rbac.authorization.k8s.io/v1/"

// ensureRoles lets CoreDNS read what its kubernetes plugin serves; all other users have bootstrap roles.
func ensureRoles(ctx context.Context, l layout) error {
	client, err := newAPI(l, apiURL(), "admin")
	if err != nil {
		return err
	}
	const role = `{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "system:coredns"},
"rules": [
  {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
  {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}
]}`
	const binding = `{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "system:coredns"},
"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}]}`
	if err := client.apply(ctx, rbacPath+"clusterroles/system:coredns", role); err != nil {
		return err
	}
	return client.apply(ctx, rbacPath+"clusterrolebindings/system:coredns", binding)
}

const (
	classPath = "/apis/resource.k8s.io/v1/deviceclasses/"
	slicePath = "/apis/resource.k8s.io/v1/resourceslices"
)

// ensureDeviceClasses names the DRA driver's two types of device as the chart of NVIDIA's driver does.
func ensureDeviceClasses(ctx context.Context, l layout) error {
	client, err := newAPI(l, apiURL(), "admin")
	if err != nil {
		return err
	}
	for name, kind := range map[string]string{gpu.DriverName: "gpu", "mig.nvidia.com": "mig"} {
		expression := fmt.Sprintf("device.driver == '%[1]s' && device.attributes['%[1]s'].type == '%[2]s'", gpu.DriverName, kind)
		err := client.apply(ctx, classPath+name, fmt.Sprintf(`{"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass",
"metadata": {"name": %q}, "spec": {"selectors": [{"cel": {"expression": %q}}]}}`, name, expression))
		if err != nil {
			return err
		}
	}
	return nil
}

// publishedDevices lists the names of the DRA driver's devices in the node's ResourceSlices, sorted.
func publishedDevices(ctx context.Context, l layout) ([]string, error) {
	client, err := newAPI(l, apiURL(), "admin")
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []struct {
			Spec struct {
				Devices []struct {
					Name string `json:"name"`
				} `json:"devices"`
			} `json:"spec"`
		} `json:"items"`
	}
	selector := "?fieldSelector=" + url.QueryEscape("spec.nodeName="+nodeName+",spec.driver="+gpu.DriverName)
	if err := client.get(ctx, slicePath+selector, &list); err != nil {
		return nil, err
	}
	var names []string
	for _, item := range list.Items {
		for _, device := range item.Spec.Devices {
			names = append(names, device.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

const volumePath = "/api/v1/persistentvolumes/foretide-data"

// ensureVolume offers one volume for a claim without a storage class. A volume whose claim was deleted is made anew
// and empty, so that the next claim binds.
func ensureVolume(ctx context.Context, l layout) error {
	client, err := newAPI(l, apiURL(), "admin")
	if err != nil {
		return err
	}
	var volume struct {
		Status struct {
			Phase string `json:"phase"`
		} `json:"status"`
	}
	err = client.get(ctx, volumePath, &volume)
	var status errStatus
	absent := errors.As(err, &status) && status.code == http.StatusNotFound
	if err != nil && !absent {
		return err
	}
	if phase := volume.Status.Phase; phase == "Released" || phase == "Failed" {
		if err := renewVolume(ctx, client, l); err != nil {
			return err
		}
	}
	return client.apply(ctx, volumePath, fmt.Sprintf(`{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "foretide-data"},
"spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "",
"hostPath": {"path": %q, "type": "DirectoryOrCreate"}}}`, l.volume()))
}

func renewVolume(ctx context.Context, client *api, l layout) error {
	if err := client.do(ctx, http.MethodDelete, volumePath, "", nil, nil); err != nil {
		return err
	}
	err := poll(ctx, func() error {
		err := client.get(ctx, volumePath, nil)
		var status errStatus
		if errors.As(err, &status) && status.code == http.StatusNotFound {
			return nil
		}
		return errors.Join(errors.New("the released volume is still there"), err)
	})
	if err != nil {
		return err
	}
	if err := os.RemoveAll(l.volume()); err != nil {
		return err
	}
	return l.makeFolders()
}

// waitServiceAccount waits until pods can be created in the default namespace.
func waitServiceAccount(ctx context.Context, l layout) error {
	client, err := newAPI(l, apiURL(), "admin")
	if err != nil {
		return err
	}
	return poll(ctx, func() error {
		return client.get(ctx, "/api/v1/namespaces/default/serviceaccounts/default", nil)
	})
}

// poll tries until it works, readyLimit passes or ctx ends, and returns the last error.
func poll(ctx context.Context, try func() error) error {
	deadline := time.Now().Add(readyLimit)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
