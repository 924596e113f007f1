package trackmllib;

import org.apache.spark.ml.classification.DecisionTreeClassificationModel;
import org.apache.spark.ml.classification.GBTClassificationModel;
import org.apache.spark.ml.classification.RandomForestClassificationModel;
import org.apache.spark.ml.regression.DecisionTreeRegressionModel;
import org.apache.spark.ml.regression.GBTRegressionModel;
import org.apache.spark.ml.regression.RandomForestRegressionModel;
import org.apache.spark.ml.tree.InternalNode;
import org.apache.spark.ml.tree.LeafNode;
import org.apache.spark.ml.tree.Node;
import org.apache.spark.ml.tree.TreeEnsembleModel;
import org.apache.spark.mllib.feature.IDFModel;
import org.apache.spark.mllib.linalg.DenseVector;
import org.apache.spark.mllib.tree.impurity.ImpurityCalculator;

/**
 * Derives models from a larger model, equal to those that Spark would fit.
 *
 * Spark's Janino compiles this class in the driver. It uses constructors that are private in Scala,
 * but public in bytecode; if a version of Spark lacks one, the class does not compile.
 */
public final class NestedModels {
  /** Impurity of a leaf that Spark failed to split. */
  private static final double FAILED = -1.0;

  private NestedModels() {}

  public static DecisionTreeClassificationModel classificationTree(
      DecisionTreeClassificationModel deep, String uid, int depth, boolean prune) {
    return new DecisionTreeClassificationModel(
        uid, cut(deep.rootNode(), depth, prune), deep.numFeatures(), deep.numClasses());
  }

  public static DecisionTreeRegressionModel regressionTree(
      DecisionTreeRegressionModel deep, String uid, int depth) {
    return new DecisionTreeRegressionModel(
        uid, cut(deep.rootNode(), depth, true), deep.numFeatures());
  }

  public static RandomForestClassificationModel classificationForest(
      RandomForestClassificationModel deep, String uid, int depth, boolean prune) {
    Object[] all = ((TreeEnsembleModel) deep).trees();
    DecisionTreeClassificationModel[] trees = new DecisionTreeClassificationModel[all.length];
    for (int i = 0; i < all.length; i++) {
      DecisionTreeClassificationModel tree = (DecisionTreeClassificationModel) all[i];
      trees[i] = classificationTree(tree, tree.uid(), depth, prune);
    }
    return new RandomForestClassificationModel(uid, trees, deep.numFeatures(), deep.numClasses());
  }

  public static RandomForestRegressionModel regressionForest(
      RandomForestRegressionModel deep, String uid, int depth) {
    Object[] all = ((TreeEnsembleModel) deep).trees();
    DecisionTreeRegressionModel[] trees = new DecisionTreeRegressionModel[all.length];
    for (int i = 0; i < all.length; i++) {
      DecisionTreeRegressionModel tree = (DecisionTreeRegressionModel) all[i];
      trees[i] = regressionTree(tree, tree.uid(), depth);
    }
    return new RandomForestRegressionModel(uid, trees, deep.numFeatures());
  }

  public static GBTClassificationModel boostedClassifier(
      GBTClassificationModel deep, String uid, int trees) {
    return new GBTClassificationModel(
        uid, firstTrees(deep, trees), firstWeights(deep, trees), deep.numFeatures(),
        deep.numClasses());
  }

  public static GBTRegressionModel boostedRegressor(
      GBTRegressionModel deep, String uid, int trees) {
    return new GBTRegressionModel(
        uid, firstTrees(deep, trees), firstWeights(deep, trees), deep.numFeatures());
  }

  /** An IDF model with weight 0 for terms in fewer than minDocFreq documents. */
  public static org.apache.spark.ml.feature.IDFModel idf(
      org.apache.spark.ml.feature.IDFModel fitted, String uid, long minDocFreq) {
    long[] docFreq = (long[]) fitted.docFreq().clone();
    double[] idf = (double[]) fitted.idf().toArray().clone();
    for (int i = 0; i < idf.length; i++) {
      if (docFreq[i] < minDocFreq) {
        idf[i] = 0.0;
        docFreq[i] = 0L;
      }
    }
    return new org.apache.spark.ml.feature.IDFModel(
        uid, new IDFModel(new DenseVector(idf), docFreq, fitted.numDocs()));
  }

  /**
   * Whether any tree of a model may have a leaf above this depth that Spark merged from two.
   *
   * Such a leaf hides a split, whose branches may have different predictions at this depth.
   */
  public static boolean mayHideSplits(Object model, int depth) {
    Node[] roots = roots(model);
    for (int i = 0; i < roots.length; i++) {
      // Spark tries to split a root of any impurity, at any maxDepth.
      boolean isMerged = roots[i] instanceof LeafNode && roots[i].impurity() != FAILED;
      if (isMerged || mayHideSplit(roots[i], depth)) return true;
    }
    return false;
  }

  /** Whether any tree has a leaf at this depth that Spark tried and failed to split. */
  public static boolean hasFailedSplits(Object model, int depth) {
    Node[] roots = roots(model);
    for (int i = 0; i < roots.length; i++) {
      if (depth > 0 && hasFailedSplit(roots[i], depth)) return true;
    }
    return false;
  }

  private static Node[] roots(Object model) {
    if (model instanceof DecisionTreeClassificationModel) {
      return new Node[] {((DecisionTreeClassificationModel) model).rootNode()};
    }
    if (model instanceof DecisionTreeRegressionModel) {
      return new Node[] {((DecisionTreeRegressionModel) model).rootNode()};
    }
    Object[] trees = ((TreeEnsembleModel) model).trees();
    Node[] roots = new Node[trees.length];
    for (int i = 0; i < trees.length; i++) roots[i] = roots(trees[i])[0];
    return roots;
  }

  private static boolean mayHideSplit(Node node, int depth) {
    if (depth == 0) return false;
    if (node instanceof LeafNode) return node.impurity() != 0.0 && node.impurity() != FAILED;
    InternalNode at = (InternalNode) node;
    return mayHideSplit(at.leftChild(), depth - 1) || mayHideSplit(at.rightChild(), depth - 1);
  }

  private static boolean hasFailedSplit(Node node, int depth) {
    if (node instanceof LeafNode) return depth == 0 && node.impurity() == FAILED;
    if (depth == 0) return false;
    InternalNode at = (InternalNode) node;
    return hasFailedSplit(at.leftChild(), depth - 1) || hasFailedSplit(at.rightChild(), depth - 1);
  }

  private static Node cut(Node root, int depth, boolean prune) {
    if (depth > 0) return below(root, depth, prune);
    // Spark tries to split the root at any maxDepth, so a root without children stays as it is.
    if (root instanceof LeafNode) return root;
    return new LeafNode(root.prediction(), root.impurity(), root.impurityStats());
  }

  private static Node below(Node node, int depth, boolean prune) {
    if (depth == 0) {
      // Spark does not try to split this node, so its impurity is never that of a failed split.
      ImpurityCalculator stats = node.impurityStats();
      return new LeafNode(stats.predict(), stats.calculate(), stats);
    }
    if (node instanceof LeafNode) return node;
    InternalNode at = (InternalNode) node;
    Node left = below(at.leftChild(), depth - 1, prune);
    Node right = below(at.rightChild(), depth - 1, prune);
    if (prune && left instanceof LeafNode && right instanceof LeafNode
        && left.prediction() == right.prediction()) {
      // As Spark's LearningNode.toNode merges them.
      return new LeafNode(left.prediction(), at.impurity(), at.impurityStats());
    }
    return new InternalNode(
        at.prediction(), at.impurity(), at.gain(), left, right, at.split(), at.impurityStats());
  }

  private static DecisionTreeRegressionModel[] firstTrees(TreeEnsembleModel deep, int count) {
    Object[] all = deep.trees();
    DecisionTreeRegressionModel[] first = new DecisionTreeRegressionModel[Math.min(count, all.length)];
    for (int i = 0; i < first.length; i++) first[i] = (DecisionTreeRegressionModel) all[i];
    return first;
  }

  private static double[] firstWeights(TreeEnsembleModel deep, int count) {
    double[] all = deep.treeWeights();
    double[] first = new double[Math.min(count, all.length)];
    System.arraycopy(all, 0, first, 0, first.length);
    return first;
  }
}
