package support;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.util.Arrays;
import org.apache.spark.ml.tree.CategoricalSplit;
import org.apache.spark.ml.tree.ContinuousSplit;
import org.apache.spark.ml.tree.InternalNode;
import org.apache.spark.ml.tree.LeafNode;
import org.apache.spark.ml.tree.Node;

/** All numbers of a tree of Spark, as bytes. */
public final class TreeBytes {
  private TreeBytes() {}

  public static byte[] of(Node root) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream out = new DataOutputStream(bytes);
    write(root, out);
    out.flush();
    return bytes.toByteArray();
  }

  private static void write(Node node, DataOutputStream out) throws IOException {
    out.writeBoolean(node instanceof LeafNode);
    out.writeDouble(node.prediction());
    out.writeDouble(node.impurity());
    double[] stats = node.impurityStats().stats();
    for (int i = 0; i < stats.length; i++) out.writeDouble(stats[i]);
    out.writeLong(node.impurityStats().rawCount());
    if (node instanceof LeafNode) return;
    InternalNode at = (InternalNode) node;
    out.writeDouble(at.gain());
    out.writeInt(at.split().featureIndex());
    if (at.split() instanceof ContinuousSplit) {
      out.writeDouble(((ContinuousSplit) at.split()).threshold());
    } else {
      double[] left = (double[]) ((CategoricalSplit) at.split()).leftCategories().clone();
      Arrays.sort(left);
      for (int i = 0; i < left.length; i++) out.writeDouble(left[i]);
      out.writeInt(((CategoricalSplit) at.split()).numCategories());
    }
    write(at.leftChild(), out);
    write(at.rightChild(), out);
  }
}
