// Package workload knows what runs under a scale target, and which workload a pod belongs to.
//
//	scale subresource → selector → pods (informer)          pod → ReplicaSet → Deployment
//	GPU pods by workload × their load → demand, once a minute
//
// Any kind with a scale subresource is a target; it is found by discovery. So is a Knative Service (knative.go). Pods come from one informer that keeps of each only
// what is asked for here.
package workload

import (
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// ErrTargetNotFound is returned when the scale target, its kind or its scale subresource does not exist.
var ErrTargetNotFound = errors.New("scale target not found")

// ErrNoSelector is returned when the scale subresource does not say which pods are its own.
var ErrNoSelector = errors.New("the scale subresource has no pod selector")

// ErrNotSynced is returned before the first full list of pods has arrived.
var ErrNotSynced = errors.New("the list of pods is not complete yet")

// ErrConflict is returned when the scale target changed since it was read: nothing was written, read it again.
var ErrConflict = errors.New("the scale target changed since it was read")

// ID names a workload, such as {default, Deployment, bert-intent-detection}.
type ID struct {
	Namespace, Kind, Name string
}

// Reference names a scale target within a namespace.
type Reference struct {
	// APIVersion is group/version, such as apps/v1. The version is a hint: the one the API server prefers is used.
	APIVersion string
	Kind       string
	Name       string
}

// State says what a pod can be counted as.
type State string

// The states of a pod.
const (
	// Ready pods serve.
	Ready State = "ready"
	// Unready pods are pending, starting, or running without being ready: capacity on its way.
	Unready State = "unready"
	// Gone pods are being deleted, failed or have succeeded: no capacity to count on.
	Gone State = "gone"
)

// Pod is what is known of one pod.
type Pod struct {
	Name string
	// Node is where it is scheduled, empty before.
	Node  string
	State State
	// GPUs is how many devices its containers ask for by extended resources; CPU and Memory are the cores and bytes that they request.
	GPUs, CPU, Memory float64
	// Claims is true when it has ResourceClaims: they may be for further devices.
	Claims bool
	// LacksGPUs is true while the scheduler finds no node with enough free GPUs for it.
	LacksGPUs bool
	// Created is when the pod was made.
	Created time.Time
	// ReadySince is when it last became ready; zero unless State is Ready.
	ReadySince time.Time
}

// Target is a scale target as it was read.
type Target struct {
	ID ID
	// Replicas is what the target is set to (spec.replicas of its scale).
	Replicas int32
	// Floor is the fewest replicas it may have, where that is what Scale sets: of a Knative Service, whose Replicas Knative chooses.
	Floor *int32
	// ScaledBy names what scales the target itself, such as Knative the Deployment of a Revision; "" when nothing does.
	ScaledBy string
	// Version is the resource version of that reading: a write that names it fails when the target has changed since.
	Version string
	// Pods are the target's pods, by name.
	Pods []Pod
	// Shape is what the newest of them asks of a node, nil when there is none that asks for GPUs. It is not to be changed.
	Shape *corev1.PodSpec
}

// Workload is a workload and its pods that ask for GPUs, by name.
type Workload struct {
	ID   ID
	Pods []Pod
}
