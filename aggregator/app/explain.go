package app

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// Explain is `aggregator explain`, and `kubectl foretide explain`: it says in plain words why a policy decides what it decides, out of
// the policy and its status, with the rights of whoever asks.
func Explain(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("aggregator explain", flag.ContinueOnError)
	named := f.String("policy", "", "the `namespace/name` of the policy; or, as kubectl has it, ahpa/name as the only argument")
	namespace := f.String("namespace", "", "`namespace` of the policy where its name does not say; empty: that of the kubeconfig's context")
	f.StringVar(namespace, "n", "", "`namespace`, short for --namespace")
	kubeconfig := f.String("kubernetes.kubeconfig", "", "`file` with access to the API server; empty: that of kubectl, or the pod's own")
	f.StringVar(kubeconfig, "kubeconfig", "", "`file`, as kubectl calls --kubernetes.kubeconfig")
	cluster := f.String("context", "", "`name` of the kubeconfig's context; empty: the current one")
	argument, args := firstArgument(args)
	if err := Parse(f, "Says in plain words why a policy decides what it decides.", args, out); err != nil {
		return err
	}
	access := userAccess(*kubeconfig, *cluster)
	in, name, err := nameOfPolicy(*named, argument, func() (string, error) {
		if *namespace != "" {
			return *namespace, nil
		}
		in, _, err := access.Namespace()
		if err != nil {
			return "", fmt.Errorf("--kubernetes.kubeconfig: %w", err)
		}
		return in, nil
	})
	if err != nil {
		return err
	}
	config, err := userConfig(access)
	if err != nil {
		return err
	}
	found, err := fetchPolicy(ctx, config, in, name)
	if err != nil {
		return err
	}
	explain(out, found, time.Now())
	return nil
}

// userAccess is that of the flags, or what kubectl would take, or the pod's.
func userAccess(kubeconfig, cluster string) clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: cluster})
}

func userConfig(access clientcmd.ClientConfig) (*rest.Config, error) {
	config, err := access.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("--kubernetes.kubeconfig: %w", err)
	}
	return config, nil
}

// firstArgument takes an argument that comes before all flags, or after them, from the rest.
func firstArgument(args []string) (argument string, rest []string) {
	isFlag := func(text string) bool { return strings.HasPrefix(text, "-") }
	if n := len(args); n > 0 && !isFlag(args[0]) {
		return args[0], args[1:]
	} else if n > 0 && !isFlag(args[n-1]) && (n == 1 || !isFlag(args[n-2]) || strings.Contains(args[n-2], "=")) {
		return args[n-1], args[:n-1]
	}
	return "", args
}

// nameOfPolicy reads namespace/name, ahpa/name or a name alone, which are in the namespace given.
func nameOfPolicy(flag, argument string, given func() (string, error)) (namespace, name string, err error) {
	wrong := fmt.Errorf("--policy is %q: it must be namespace/name, or ahpa/name as the only argument", flag+argument)
	if (flag == "") == (argument == "") {
		return "", "", wrong
	}
	before, after, both := strings.Cut(flag+argument, "/")
	switch {
	case strings.Contains(after, "/"): // ahpa/namespace/name
		if _, rest, _ := strings.Cut(flag+argument, "/"); isKind(before) {
			return nameOfPolicy(rest, "", given)
		}
		return "", "", wrong
	case !both && before != "" && flag == "":
		after = before
	case !both || before == "" || after == "":
		return "", "", wrong
	case !isKind(before):
		return before, after, nil
	}
	namespace, err = given()
	return namespace, after, err
}

// isKind tells whether a word names the kind of a policy, as it may to kubectl.
func isKind(word string) bool {
	resource, group, _ := strings.Cut(strings.ToLower(word), ".")
	return slices.Contains([]string{"ahpa", "advancedhorizontalpodautoscaler", "advancedhorizontalpodautoscalers"}, resource) &&
		(group == "" || group == v1alpha1.GroupVersion().Group)
}

// fetchPolicy lists instead of getting, which is what the aggregator's own account may do.
func fetchPolicy(ctx context.Context, config *rest.Config, namespace, name string) (*v1alpha1.AdvancedHorizontalPodAutoscaler, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	var found v1alpha1.AdvancedHorizontalPodAutoscalerList
	if err := c.List(ctx, &found, client.InNamespace(namespace), client.MatchingFields{"metadata.name": name}); err != nil {
		return nil, fmt.Errorf("read policy %s/%s: %w", namespace, name, err)
	}
	if len(found.Items) == 0 {
		return nil, fmt.Errorf("--policy: there is no policy %q in namespace %q", name, namespace)
	}
	policy := &found.Items[0]
	policy.Spec.Default()
	return policy, nil
}
